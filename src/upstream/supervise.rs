//! Tasks that never end by themselves: one that a panic has ended is begun anew.
//!
//! Owns: [`keep`]. Never knows: what a task does.

use crate::base::limits;

/// Starts the task that does `what`, and begins it anew whenever it panics.
pub(super) fn keep<F>(what: &'static str, task: impl Fn() -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    tokio::task::spawn_local(async move {
        while tokio::task::spawn_local(task()).await.is_err_and(|error| error.is_panic()) {
            tracing::error!(
                code = "UPS-E002",
                "an internal error ended the task that {what}; it is started again"
            );
            tokio::time::sleep(limits::TASK_RESTART_PAUSE).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn task_that_panics_begins_anew() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let begun = Rc::new(Cell::new(0));
            let count = Rc::clone(&begun);
            keep("is tried", move || {
                count.set(count.get() + 1);
                let ends = count.get() == 3;
                async move {
                    if !ends {
                        std::panic::resume_unwind(Box::new("a defect"));
                    }
                }
            });
            while begun.get() < 3 {
                tokio::time::sleep(limits::TASK_RESTART_PAUSE).await;
            }
            tokio::time::sleep(limits::TASK_RESTART_PAUSE * 10).await;
            assert_eq!(begun.get(), 3, "it ends when it ends by itself");
        });
    }
}
