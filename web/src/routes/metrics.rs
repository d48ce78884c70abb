//! `GET /metrics`: the latest sample for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use openwork_observatory::Sample;
use openwork_observatory::catalogue::{Kind, METRICS, Metric, Unit as SampleUnit, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiError;
use crate::state::AppState;

/// `/metrics`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Every metric of the catalogue, read from the observatory's latest sample: equal sample numbers give equal figures
/// here, in the event stream and in the API. `openwork_sample_number` says which sample it is.
#[utoipa::path(get, path = "/metrics", tag = "watch", responses(
    (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
    (status = "default", description = "refused", body = crate::error::Problem, content_type = "application/problem+json")))]
async fn metrics(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let text = render(state.observatory.latest()).map_err(ApiError::internal)?;
    // A browser would offer the OpenMetrics type as a download.
    let person = headers
        .get(header::ACCEPT)
        .and_then(|a| a.to_str().ok())
        .is_some_and(|a| a.contains("text/html"));
    let content_type = match person {
        true => "text/plain; charset=utf-8",
        false => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}

/// A sample as OpenMetrics text.
///
/// # Errors
/// The encoder refuses; it writes to memory, so it does not.
pub fn render(sample: Arc<Sample>) -> Result<String, std::fmt::Error> {
    // A registry for each scrape, because what is registered is this one sample, not live counters that would move
    // while they are written.
    let mut registry = Registry::default();
    registry.register_collector(Box::new(OneSample(sample)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct OneSample(Arc<Sample>);

impl Collector for OneSample {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in METRICS {
            encode(&mut encoder, metric, &self.0)?;
        }
        Ok(())
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    sample: &Sample,
) -> Result<(), std::fmt::Error> {
    let points = metric.read(sample);
    if points.is_empty() {
        return Ok(());
    }
    // The encoder appends `_total` and the unit, both of which the catalogue's names hold.
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let (stem, unit) = match metric.unit {
        SampleUnit::Bytes => (name.strip_suffix("_bytes"), Some(Unit::Bytes)),
        SampleUnit::Seconds => (name.strip_suffix("_seconds"), Some(Unit::Seconds)),
        _ => (None, None),
    };
    let (stem, unit) = stem.map_or((name, None), |stem| (stem, unit));
    let metric_type = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut family = encoder.encode_descriptor(stem, metric.help, unit.as_ref(), metric_type)?;
    for point in points {
        if metric.labels.is_empty() {
            // A family without labels would be written with empty braces.
            value(family, metric.kind, point.value)?;
            break;
        }
        let labels: Vec<(&str, String)> = metric.labels.iter().copied().zip(point.labels).collect();
        value(family.encode_family(&labels)?, metric.kind, point.value)?;
    }
    Ok(())
}

fn value(encoder: MetricEncoder<'_>, kind: Kind, value: Value) -> Result<(), std::fmt::Error> {
    use prometheus_client::metrics::{counter::ConstCounter, gauge::ConstGauge};
    match (kind, value) {
        (Kind::Counter, Value::Integer(v)) => ConstCounter::new(v).encode(encoder),
        (Kind::Counter, Value::Real(v)) => ConstCounter::new(v).encode(encoder),
        // Gauges hold signed numbers; a count that large does not occur, and would be off by less than a float's step.
        (Kind::Gauge, Value::Integer(v)) => match i64::try_from(v) {
            Ok(v) => ConstGauge::new(v).encode(encoder),
            Err(_) => ConstGauge::new(v as f64).encode(encoder),
        },
        (Kind::Gauge, Value::Real(v)) => ConstGauge::new(v).encode(encoder),
    }
}
