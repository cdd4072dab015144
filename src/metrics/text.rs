//! The two text formats in which the numbers can be read: OpenMetrics as the encoder writes it, and Prometheus' own
//! older one, which every scraper reads, made out of it.
//!
//! They differ in what surrounds the samples (<https://prometheus.io/docs/instrumenting/exposition_formats>): there a
//! counter's `HELP` and `TYPE` bear the name of its samples, with `_total`, and there is neither `UNIT` nor `EOF`. The
//! samples themselves are the same, as long as nobody here uses exemplars or types that only OpenMetrics has.

/// In which text format the numbers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` that names it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// OpenMetrics text in the classic format.
pub(super) fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 512);
    // HELP comes first, and only TYPE says which name it must bear.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|typed| typed.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take().filter(|(described, _)| *described == name) {
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::classic;

    #[test]
    fn only_what_surrounds_the_samples_changes() {
        let open_metrics = "\
# HELP chat_errors requests refused, by error code.
# TYPE chat_errors counter
chat_errors_total{code=\"a # b\"} 2
# HELP chat_connections open connections.
# TYPE chat_connections gauge
chat_connections 1
# HELP chat_commit_seconds seconds.
# TYPE chat_commit_seconds histogram
# UNIT chat_commit_seconds seconds
chat_commit_seconds_sum 0.5
chat_commit_seconds_count 1
chat_commit_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        let expected = "\
# HELP chat_errors_total requests refused, by error code.
# TYPE chat_errors_total counter
chat_errors_total{code=\"a # b\"} 2
# HELP chat_connections open connections.
# TYPE chat_connections gauge
chat_connections 1
# HELP chat_commit_seconds seconds.
# TYPE chat_commit_seconds histogram
chat_commit_seconds_sum 0.5
chat_commit_seconds_count 1
chat_commit_seconds_bucket{le=\"+Inf\"} 1
";
        assert_eq!(classic(open_metrics), expected);
    }
}
