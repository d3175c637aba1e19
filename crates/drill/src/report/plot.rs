//! Plots over time, as SVG without scripts or outside resources.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// One line of a plot.
pub(super) struct Line<'a> {
    /// CSS class: `f0` to `f5` for fronts, `oracle`.
    pub(super) class: String,
    /// What it shows, for those who point at it.
    pub(super) label: &'a str,
    /// One value a second; none where there is nothing to show.
    pub(super) values: Vec<Option<f64>>,
}

/// A plot over the seconds of a run.
pub(super) struct Plot<'a> {
    /// Unique in the page.
    pub(super) id: String,
    /// Title for assistive tools.
    pub(super) title: String,
    /// What it shows, in a sentence.
    pub(super) desc: String,
    /// Unit of the values.
    pub(super) unit: &'a str,
    /// Seconds from the start to the onset, and to the end of the attack.
    pub(super) attack_s: (f64, f64),
    /// Its lines.
    pub(super) lines: Vec<Line<'a>>,
    /// Whether the values span so many powers of ten that a logarithmic scale is needed.
    pub(super) logarithmic: bool,
}

impl Plot<'_> {
    /// The SVG element.
    pub(super) fn svg(&self) -> String {
        let seconds = self.lines.iter().map(|l| l.values.len()).max().unwrap_or(1).max(2);
        let top =
            nice(self.lines.iter().flat_map(|l| &l.values).flatten().copied().fold(1.0, f64::max), self.logarithmic);
        let x = |s: f64| LEFT + s / seconds as f64 * (WIDTH - LEFT - RIGHT);
        let y = |v: f64| {
            let share = if self.logarithmic { v.max(1.0).log10() / top.log10() } else { v / top };
            HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
        };
        let mut out = String::new();
        let id = &self.id;
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title>\
             <desc id=\"{id}-d\">{}</desc>",
            super::html::escape(&self.title),
            super::html::escape(&self.desc)
        );
        let (from, until) = (x(self.attack_s.0), x(self.attack_s.1));
        let _ = write!(
            out,
            "<rect class=\"attack\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{}\">attack</text>",
            until - from,
            HEIGHT - TOP - BOTTOM,
            from + 4.0,
            TOP + 11.0
        );
        for value in self.ticks(top) {
            let at = y(value);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{value}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0
            );
        }
        let step = [1, 2, 5, 10, 20, 60, 120].into_iter().find(|s| seconds / s <= 12).unwrap_or(120);
        for second in (0..=seconds).step_by(step) {
            let at = x(second as f64);
            let _ = write!(
                out,
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{at:.1}\" y=\"{}\">{second}</text>",
                HEIGHT - 10.0
            );
        }
        let _ = write!(out, "<text class=\"tick\" x=\"2\" y=\"{}\">{}</text>", TOP - 2.0, self.unit);
        for line in &self.lines {
            out.push_str(&line.path(&x, &y));
        }
        out.push_str("</svg>");
        out
    }

    fn ticks(&self, top: f64) -> Vec<f64> {
        if self.logarithmic {
            (0..=top.log10().round() as i32).map(|power| 10_f64.powi(power)).collect()
        } else {
            (0..=4).map(|i| top * f64::from(i) / 4.0).collect()
        }
    }
}

impl Line<'_> {
    fn path(&self, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
        let mut d = String::new();
        let mut pen_down = false;
        for (second, value) in self.values.iter().enumerate() {
            match value {
                Some(value) => {
                    let command = if pen_down { 'L' } else { 'M' };
                    let _ = write!(d, "{command}{:.1} {:.1}", x(second as f64 + 0.5), y(*value));
                    pen_down = true;
                }
                None => pen_down = false,
            }
        }
        format!("<path class=\"{}\" d=\"{d}\"><title>{}</title></path>", self.class, super::html::escape(self.label))
    }
}

/// The next round figure at or above a value: the top of a scale.
fn nice(value: f64, logarithmic: bool) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    if logarithmic {
        return (if power < value { power * 10.0 } else { power }).max(10.0);
    }
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|top| *top >= value)
        .unwrap_or(power * 10.0)
        .max(4.0)
}

#[cfg(test)]
mod tests {
    use super::nice;

    #[test]
    fn scales_end_on_round_figures() {
        for (value, logarithmic, top) in [
            (1.0, false, 4.0),
            (37.0, false, 40.0),
            (41.0, false, 60.0),
            (900.0, false, 1000.0),
            (37.0, true, 100.0),
            (2.0, true, 10.0),
        ] {
            assert_eq!(nice(value, logarithmic), top, "{value}");
        }
    }
}
