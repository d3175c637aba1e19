//! The verdict as the operator sees it. Field names are an interface.

use guichet_core::link::{InterfaceRates, Measure, Place, Rates, Verdict};
use serde::Serialize;

/// The verdict, in words and figures.
#[derive(Debug, Clone, Serialize)]
pub struct LinkView {
    /// `unknown`, `line_full`, `host_full`, `service_full` or `nothing_wrong`.
    pub verdict: &'static str,
    /// The same in one sentence.
    pub sentence: String,
    /// Since when, seconds since 1970.
    pub since_unix_s: u64,
    /// What is full; empty where nothing is.
    pub causes: Vec<MeasureView>,
    /// All that was measured.
    pub evidence: Vec<MeasureView>,
    /// Rates of each interface.
    pub interfaces: Vec<InterfaceView>,
    /// SYN cookies sent, a second.
    pub syn_cookies_s: Option<f64>,
    /// Times that a processor had packets left when its time was over, a second.
    pub squeezed_s: Option<f64>,
    /// The place, for those inside the program.
    #[serde(skip)]
    pub place: Place,
    /// Whether a line is full on the way in.
    #[serde(skip)]
    pub line_in_full: bool,
}

impl Default for LinkView {
    fn default() -> Self {
        Self::new(&Verdict::default(), 0)
    }
}

/// One measure.
#[derive(Debug, Clone, Serialize)]
pub struct MeasureView {
    /// What was measured, such as `line_in`.
    pub subject: &'static str,
    /// Of which interface or service; empty: of the host.
    pub of: String,
    /// How much there is.
    pub value: f64,
    /// How much can be; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// How near the limit, 1 = at it.
    pub share: f64,
    /// The same in words.
    pub words: String,
}

/// Rates of an interface, a second.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct InterfaceView {
    pub name: String,
    pub in_bits: f64,
    pub in_packets: f64,
    pub in_dropped: f64,
    pub out_bits: f64,
    pub out_packets: f64,
    pub out_dropped: f64,
}

impl LinkView {
    /// A view of a verdict that began at `since_unix_s`.
    #[must_use]
    pub fn new(verdict: &Verdict, since_unix_s: u64) -> Self {
        let views = |measures: &[Measure]| measures.iter().map(MeasureView::new).collect();
        let Rates { interfaces, syn_cookies_s, softnet_squeezed_s, .. } = &verdict.rates;
        Self {
            verdict: verdict.place.name(),
            sentence: verdict.to_string(),
            since_unix_s,
            causes: views(&verdict.causes),
            evidence: views(&verdict.evidence),
            interfaces: interfaces.iter().map(InterfaceView::new).collect(),
            syn_cookies_s: *syn_cookies_s,
            squeezed_s: *softnet_squeezed_s,
            place: verdict.place,
            line_in_full: verdict.line_in_full(),
        }
    }
}

impl MeasureView {
    fn new(measure: &Measure) -> Self {
        Self {
            subject: measure.subject.name(),
            of: measure.subject.of().to_owned(),
            value: measure.value,
            limit: measure.limit.is_finite().then_some(measure.limit),
            share: measure.share,
            words: measure.to_string(),
        }
    }
}

impl InterfaceView {
    fn new(rates: &InterfaceRates) -> Self {
        let ([in_bits, out_bits], [in_packets, out_packets]) = (rates.bits_s, rates.packets_s);
        let [in_dropped, out_dropped] = rates.dropped_s;
        let name = rates.name.clone();
        Self { name, in_bits, in_packets, in_dropped, out_bits, out_packets, out_dropped }
    }
}
