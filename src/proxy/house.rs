//! What the verbs of the admin server are answered from.
//!
//! Owns: [`House`], [`Order`], [`InForce`]. Never knows: any one verb, HTTP.

use tokio::sync::{mpsc, oneshot};

use super::attempt::Attempt;
use super::data_plane::{Control, Hall};
use super::parts::Parts;
use crate::admin::Refused;
use crate::base::live::Live;
use crate::config::Config;
use crate::telemetry::Telemetry;

/// Handed to every verb. A verb that needs more of the process adds it here.
#[derive(Debug)]
pub struct House {
    pub(super) telemetry: Telemetry,
    pub(super) in_force: Live<InForce>,
    pub(super) data_plane: mpsc::UnboundedSender<Control>,
    pub(super) orders: mpsc::Sender<Order>,
}

/// What a reload replaces.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub config: Config,
    pub parts: Parts,
}

/// What the process itself must do.
#[derive(Debug)]
pub(super) enum Order {
    /// Reload everything, and say what came of each part.
    Reload(oneshot::Sender<Vec<Attempt>>),
}

impl House {
    /// Asks something of the thread on which commands travel; the question must be answered at once,
    /// for no command is served meanwhile.
    ///
    /// # Errors
    ///
    /// When that thread is gone.
    pub(super) async fn ask_data_plane<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Hall<'_>) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let ask = Control::Ask(Box::new(move |hall: &Hall<'_>| drop(answer.send(question(hall)))));
        self.data_plane.send(ask).map_err(|_| Refused::Leaving)?;
        answered.await.map_err(|_| Refused::Leaving)
    }

    /// Gives an order to the process and waits until it is done.
    ///
    /// # Errors
    ///
    /// When the process is about to exit.
    pub(super) async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| Refused::Leaving)?;
        answered.await.map_err(|_| Refused::Leaving)
    }
}
