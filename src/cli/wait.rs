//! `wait`: checks the health of a respgate until it is good, or time is over.
//!
//! Owns: the repetition. Never knows: what makes a process healthy.

use std::process::ExitCode;

use bytes::Bytes;

use super::args::Goal;
use super::args::Wait;
use super::ask::{Question, Response, ask};
use super::output::Output;
use super::verb::Verb;
use crate::admin::query;
use crate::base::clock;
use crate::base::limits;
use crate::proxy::verbs::HEALTH;

impl Verb for Wait {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        let way = match self.target.way() {
            Ok(way) => way,
            Err(problem) => return problem.print(output),
        };
        let (probe, what) = match self.goal {
            Goal::Ready => ("ready", "waiting for respgate to be ready"),
            Goal::Upstream => ("upstream", "waiting for respgate to reach its server"),
        };
        let progress = output.progress(what);
        let until = clock::now() + self.timeout;
        loop {
            let question = Question {
                method: HEALTH.effect.method(),
                target: format!("{}{}", HEALTH.path, query::write([("probe", probe)])),
                body: Bytes::new(),
                json: output.is_json(),
                patience: HEALTH.patience.min(self.timeout),
            };
            let response = ask(&way, question);
            let good = matches!(&response, Response::Answer { exit: 0, .. });
            if good || clock::now() + limits::WAIT_INTERVAL >= until {
                drop(progress);
                return response.print(output);
            }
            std::thread::sleep(limits::WAIT_INTERVAL);
        }
    }
}
