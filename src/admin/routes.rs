//! Turns a request to the telemetry server into its answer.
//!
//! Owns: the paths. Never knows: sockets, how numbers are made.

use std::time::Instant;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Response, StatusCode, Uri};

use super::readiness::{Health, Probe};
use crate::telemetry::{CodeClass, Endpoint, Metrics};

const PLAIN: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer; counted.
pub(super) fn answer(
    method: &Method,
    uri: &Uri,
    health: &Health,
    metrics: &Metrics,
    now: Instant,
) -> Response<String> {
    let (endpoint, probe) = route(uri.path());
    let reads = *method == Method::GET || *method == Method::HEAD;
    let (status, kind, body) = match (endpoint, probe) {
        (Endpoint::Other, _) => (StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned()),
        _ if !reads => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "method not allowed\n".to_owned()),
        (_, Some(probe)) => {
            let (status, body) = check(probe, uri.query().unwrap_or_default(), health, now);
            (status, PLAIN, body)
        }
        (_, None) => match metrics.scrape() {
            Ok(text) => (StatusCode::OK, EXPOSITION, text),
            Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{e}\n")),
        },
    };
    metrics.shard().admin_requests_total[endpoint][class(status)].inc();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn route(path: &str) -> (Endpoint, Option<Probe>) {
    match path {
        "/metrics" => (Endpoint::Metrics, None),
        "/livez" => (Endpoint::Livez, Some(Probe::Live)),
        "/readyz" => (Endpoint::Readyz, Some(Probe::Ready)),
        "/startupz" => (Endpoint::Startupz, Some(Probe::Started)),
        "/healthz/upstream" => (Endpoint::Upstream, Some(Probe::Upstream)),
        _ => (Endpoint::Other, None),
    }
}

/// A failure always lists its checks; a success only for `?verbose`.
fn check(probe: Probe, query: &str, health: &Health, now: Instant) -> (StatusCode, String) {
    let report = health.report(probe, now);
    let verbose = query.split('&').any(|word| word == "verbose" || word.starts_with("verbose="));
    match report.passed() {
        false => (StatusCode::SERVICE_UNAVAILABLE, report.to_string()),
        true if verbose => (StatusCode::OK, report.to_string()),
        true => (StatusCode::OK, "ok\n".to_owned()),
    }
}

pub(super) fn class(status: StatusCode) -> CodeClass {
    if status.is_success() {
        CodeClass::Success
    } else if status.is_client_error() {
        CodeClass::Client
    } else {
        CodeClass::Server
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn ask(method: Method, uri: &'static str, health: &Health, metrics: &Metrics) -> (u16, String) {
        let uri = Uri::from_static(uri);
        let response = answer(&method, &uri, health, metrics, clock::now());
        assert_eq!(response.headers().contains_key(ALLOW), response.status() == 405);
        (response.status().as_u16(), response.into_body())
    }

    #[test]
    fn answers() {
        let (health, metrics) = (Health::new(clock::now()), Metrics::default());
        health.set_started();
        let ok = "ok\n".to_owned();
        let get = |uri| ask(Method::GET, uri, &health, &metrics);
        assert_eq!(get("/livez"), (200, ok.clone()));
        assert_eq!(get("/livez?verbose").1, "[+]ping ok\n[+]worker ok\nlivez check passed\n");
        assert_eq!(get("/startupz?x=1&verbose=1").1, "[+]started ok\nstartupz check passed\n");
        assert_eq!(get("/startupz?unverbose"), (200, ok.clone()));
        assert_eq!(get("/readyz").0, 503);
        assert!(get("/readyz").1.contains("[-]listeners failed\n"));
        health.set_listeners_bound(true);
        assert_eq!(get("/readyz"), (200, ok));
        assert_eq!(get("/healthz/upstream").0, 503);
        for lost in ["/", "/Metrics", "/metrics/", "/livez/x", "/healthz", "//livez"] {
            assert_eq!(get(lost).0, 404, "{lost}");
        }
        assert!(get("/metrics").1.contains("respgate_build_info{"));
    }

    #[test]
    fn writing_methods_are_refused() {
        let (health, metrics) = (Health::new(clock::now()), Metrics::default());
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
            assert_eq!(ask(method, "/metrics", &health, &metrics).0, 405);
        }
        assert_eq!(ask(Method::HEAD, "/livez", &health, &metrics).0, 200);
        let requests = &metrics.shard().admin_requests_total;
        assert_eq!(requests[Endpoint::Metrics][CodeClass::Client].get(), 5);
        assert_eq!(requests[Endpoint::Livez][CodeClass::Success].get(), 1);
    }
}
