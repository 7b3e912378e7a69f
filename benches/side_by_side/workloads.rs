//! The workloads: requests, load, and the contestants that serve them.
//!
//! Owns: [`WORKLOADS`]. Never knows: results.

use crate::load::{Shape, Talk};

/// One row group of the table.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How targets and the JSON name it.
    pub id: &'static str,
    pub title: &'static str,
    pub shape: Shape,
    pub talk: Talk,
    pub bulk_bytes: Option<usize>,
    pub contestants: &'static [&'static str],
}

const SMALL: Talk = Talk {
    value_bytes: 64,
    pipeline: 1,
    only_get: false,
    expires: false,
    calls: None,
    by_name: false,
};
const GET: Talk = Talk { only_get: true, ..SMALL };
const PIPELINE: Talk = Talk { pipeline: 16, ..SMALL };
const EXPIRING: Talk = Talk { expires: true, ..PIPELINE };
const KIB_100: Talk = Talk { value_bytes: 100 << 10, ..GET };
const MIB_10: Talk = Talk { value_bytes: 10 << 20, ..SMALL };

const fn closed(connections: usize) -> Shape {
    Shape::Closed { connections }
}

const BASE: Workload = Workload {
    id: "50",
    title: "50 connections, no pipelining",
    shape: closed(50),
    talk: SMALL,
    bulk_bytes: None,
    contestants: &[
        "direct TLS",
        "direct plaintext",
        "respgate",
        "other build",
        "respgate no rules",
        "respgate unix",
        "haproxy",
        "envoy redis_proxy",
        "envoy tcp_proxy",
        "nginx",
        "stunnel",
    ],
};

/// A script with so many calls.
const fn script(id: &'static str, title: &'static str, calls: usize, by_name: bool) -> Workload {
    let talk = Talk { calls: Some(calls), by_name, ..SMALL };
    let contestants = &["direct TLS", "respgate rewrite", "respgate guarded", "other guarded"];
    Workload { id, title, talk, contestants, ..BASE }
}

/// Mutual TLS on the application's side.
const ENDING: Workload = Workload {
    id: "tls50",
    title: "mutual TLS from applications, 50 connections, no pipelining",
    contestants: &[
        "direct TLS",
        "respgate ends TLS",
        "haproxy ends TLS",
        "envoy redis_proxy ends TLS",
        "envoy tcp_proxy ends TLS",
        "stunnel ends TLS",
    ],
    ..BASE
};

pub const WORKLOADS: [Workload; 21] = [
    BASE,
    Workload {
        id: "500",
        title: "500 connections",
        shape: closed(500),
        contestants: &["direct TLS", "respgate", "other build", "haproxy", "envoy redis_proxy"],
        ..BASE
    },
    Workload {
        id: "50x16",
        title: "50 connections, pipeline 16",
        talk: PIPELINE,
        contestants: &[
            "direct TLS",
            "respgate",
            "other build",
            "respgate no rules",
            "respgate rewrite",
            "respgate ttl",
            "haproxy",
            "envoy redis_proxy",
            "envoy tcp_proxy",
            "nginx",
        ],
        ..BASE
    },
    Workload {
        id: "50x16ex",
        title: "50 connections, pipeline 16, every SET with EX",
        talk: EXPIRING,
        contestants: &["direct TLS", "respgate"],
        ..BASE
    },
    Workload {
        id: "8",
        title: "8 connections",
        shape: closed(8),
        contestants: &["direct TLS", "respgate", "other build", "haproxy"],
        ..BASE
    },
    Workload {
        id: "1",
        title: "1 connection",
        shape: closed(1),
        contestants: &["direct TLS", "respgate", "other build", "respgate unix", "haproxy"],
        ..BASE
    },
    Workload {
        id: "rate",
        title: "50 connections, 10,000 op/s in all",
        shape: Shape::Open { connections: 50, per_second: 10_000 },
        contestants: &["direct TLS", "respgate", "other build", "haproxy"],
        ..BASE
    },
    Workload {
        id: "churn",
        title: "connect + GET + close, 16 at once",
        shape: Shape::Churn { connections: 16 },
        talk: GET,
        contestants: &["respgate", "other build", "haproxy", "nginx", "envoy tcp_proxy"],
        ..BASE
    },
    Workload {
        id: "100k",
        title: "GET of 100 KiB, 8 connections",
        shape: closed(8),
        talk: KIB_100,
        contestants: &[
            "direct TLS",
            "respgate",
            "other build",
            "haproxy",
            "envoy redis_proxy",
            "envoy tcp_proxy",
            "nginx",
        ],
        ..BASE
    },
    Workload {
        id: "10m",
        title: "SET and GET of 10 MiB, 1 connection",
        shape: closed(1),
        talk: MIB_10,
        contestants: &[
            "direct TLS",
            "respgate",
            "other build",
            "haproxy",
            "envoy tcp_proxy",
            "nginx",
        ],
        ..BASE
    },
    Workload {
        id: "alone",
        title: "20 connections",
        shape: closed(20),
        contestants: &["respgate", "other build"],
        ..BASE
    },
    Workload {
        id: "beside",
        title: "20 connections, beside one that sets and gets 10 MiB",
        shape: closed(20),
        bulk_bytes: Some(10 << 20),
        contestants: &["respgate", "other build", "direct TLS"],
        ..BASE
    },
    ENDING,
    Workload {
        id: "tls50x16",
        title: "mutual TLS from applications, 50 connections, pipeline 16",
        talk: PIPELINE,
        ..ENDING
    },
    Workload {
        id: "tlschurn",
        title: "mutual TLS from applications: connect + GET + close, 16 at once",
        shape: Shape::Churn { connections: 16 },
        talk: GET,
        ..ENDING
    },
    script("sha0", "EVALSHA of a script without calls, 50 connections", 0, true),
    script("sha3", "EVALSHA of a script with 3 calls, 50 connections", 3, true),
    script("sha20", "EVALSHA of a script with 20 calls, 50 connections", 20, true),
    script("eval0", "EVAL of a script without calls, 50 connections", 0, false),
    script("eval3", "EVAL of a script with 3 calls, 50 connections", 3, false),
    script("eval20", "EVAL of a script with 20 calls, 50 connections", 20, false),
];
