//! The text format of Prometheus, version 0.0.4.

use super::super::text::put;

use super::counters::BUCKETS_US;

/// The `Content-Type` of an exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An exposition under way. A family is begun once and its samples follow.
pub(super) struct Exposition {
    out: String,
    family: &'static str,
}

impl Exposition {
    pub(super) fn new() -> Self {
        Self { out: String::with_capacity(64 * 1024), family: "" }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str) {
        debug_assert!(name.ends_with("_total"));
        self.begin(name, "counter", help);
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str) {
        self.begin(name, "gauge", help);
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str) {
        self.begin(name, "histogram", help);
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        put(&mut self.out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    /// A sample, unless it is zero: for tables most of whose entries never happen.
    pub(super) fn sample_if_any(&mut self, labels: &[(&str, &str)], value: u64) {
        if value > 0 {
            self.sample(labels, value as f64);
        }
    }

    /// `counts`: of each bucket alone; added up here.
    pub(super) fn distribution(&mut self, labels: &[(&str, &str)], counts: &[u64], sum_us: u64) {
        let mut total = 0;
        for (at, count) in counts.iter().enumerate() {
            total += count;
            let end = BUCKETS_US.get(at).map_or("+Inf".to_owned(), |us| number(*us as f64 / 1e6));
            self.line("_bucket", labels, Some(&end), total as f64);
        }
        self.line("_sum", labels, None, sum_us as f64 / 1e6);
        self.line("_count", labels, None, total as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], end: Option<&str>, value: f64) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        let all = labels.iter().copied().chain(end.map(|end| ("le", end)));
        let mut before = '{';
        for (name, value) in all {
            self.out.push(before);
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(&mut self.out, value);
            self.out.push('"');
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
        put(&mut self.out, format_args!(" {}\n", number(value)));
    }
}

fn escape(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        // Display of a float is exact, and `NaN` is what the format wants.
        other => other.to_string(),
    }
}
