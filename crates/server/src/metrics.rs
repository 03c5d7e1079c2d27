//! Counters in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;

/// The upper bounds of the histogram of answer times, in seconds.
const BOUNDS_S: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What a server has done since it was started.
#[derive(Default)]
pub(crate) struct Metrics {
    /// By route, and by method and status.
    routes: Mutex<BTreeMap<String, BTreeMap<Answered, Times>>>,
    edits: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    stream_messages: AtomicU64,
}

/// The labels of a request beside its route. There are as many as routes, methods and statuses: clients cannot add any.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Answered {
    method: &'static str,
    status: u16,
}

#[derive(Default)]
struct Times {
    count: u64,
    sum_s: f64,
    /// How many took at most the bound of the same place, and longer than the bound before.
    buckets: [u64; BOUNDS_S.len()],
}

/// A number that is looked up when the counters are asked for.
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// Pairs of labels, already in the form `name="value"`, and values.
    pub(crate) values: Vec<(String, u64)>,
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn request(&self, method: &Method, route: &str, status: u16, elapsed: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            "OPTIONS" => "OPTIONS",
            _ => "other",
        };
        let seconds = elapsed.as_secs_f64();
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = Answered { method, status };
        let times = match routes.get_mut(route) {
            Some(of_route) => of_route.entry(answered).or_default(),
            None => routes.entry(route.to_owned()).or_default().entry(answered).or_default(),
        };
        times.count += 1;
        times.sum_s += seconds;
        if let Some(place) = BOUNDS_S.iter().position(|bound| seconds <= *bound) {
            times.buckets[place] += 1;
        }
    }

    /// Counts edits by what became of them.
    pub(crate) fn edits(&self, source: &'static str, status: &'static str, count: u64) {
        let mut edits = self.edits.lock().unwrap_or_else(PoisonError::into_inner);
        *edits.entry((source, status)).or_default() += count;
    }

    /// Counts a message sent on a live stream.
    pub(crate) fn stream_message(&self) {
        self.stream_messages.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters as text, with `gauges` after them.
    pub(crate) fn text(&self, gauges: &[Gauge]) -> String {
        let mut text = String::with_capacity(16 * 1024);
        self.write(&mut text, gauges).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String, gauges: &[Gauge]) -> std::fmt::Result {
        head(text, "stet_http_requests_total", "counter", "Requests answered.")?;
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let all =
            || routes.iter().flat_map(|(route, of)| of.iter().map(|(answered, times)| (answered.labels(route), times)));
        for (labels, times) in all() {
            writeln!(text, "stet_http_requests_total{{{labels}}} {}", times.count)?;
        }
        head(text, "stet_http_request_seconds", "histogram", "Time until the answer began, in seconds.")?;
        for (labels, times) in all() {
            let mut below = 0;
            for (bound, count) in BOUNDS_S.iter().zip(times.buckets) {
                below += count;
                writeln!(text, "stet_http_request_seconds_bucket{{{labels},le=\"{bound}\"}} {below}")?;
            }
            writeln!(text, "stet_http_request_seconds_bucket{{{labels},le=\"+Inf\"}} {}", times.count)?;
            writeln!(text, "stet_http_request_seconds_sum{{{labels}}} {}", times.sum_s)?;
            writeln!(text, "stet_http_request_seconds_count{{{labels}}} {}", times.count)?;
        }
        drop(routes);
        head(text, "stet_edits_total", "counter", "Edits asked for, by source and by what became of them.")?;
        for ((source, status), count) in self.edits.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            writeln!(text, "stet_edits_total{{source=\"{source}\",status=\"{status}\"}} {count}")?;
        }
        head(text, "stet_stream_messages_total", "counter", "Messages sent on live streams.")?;
        writeln!(text, "stet_stream_messages_total {}", self.stream_messages.load(Ordering::Relaxed))?;
        for gauge in gauges {
            head(text, gauge.name, "gauge", gauge.help)?;
            for (labels, value) in &gauge.values {
                if labels.is_empty() {
                    writeln!(text, "{} {value}", gauge.name)?;
                } else {
                    writeln!(text, "{}{{{labels}}} {value}", gauge.name)?;
                }
            }
        }
        Ok(())
    }
}

impl Answered {
    fn labels(&self, route: &str) -> String {
        format!("method=\"{}\",route=\"{route}\",status=\"{}\"", self.method, self.status)
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_of_the_histogram_add_up() {
        let metrics = Metrics::default();
        for ms in [1, 4, 40, 9_000] {
            metrics.request(&Method::GET, "/healthz", 200, Duration::from_millis(ms));
        }
        let text = metrics.text(&[]);
        let labels = "method=\"GET\",route=\"/healthz\",status=\"200\"";
        assert!(text.contains(&format!("stet_http_requests_total{{{labels}}} 4\n")), "{text}");
        assert!(text.contains(&format!("stet_http_request_seconds_bucket{{{labels},le=\"0.005\"}} 2\n")), "{text}");
        assert!(text.contains(&format!("stet_http_request_seconds_bucket{{{labels},le=\"5\"}} 3\n")), "{text}");
        assert!(text.contains(&format!("stet_http_request_seconds_bucket{{{labels},le=\"+Inf\"}} 4\n")), "{text}");
    }
}
