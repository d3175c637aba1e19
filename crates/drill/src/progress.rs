//! What one sees while a drill runs: a bar on a terminal, plain lines elsewhere.

use crate::load::Live;
use crate::scenario::Phases;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Does `work` while another thread tells how far it is.
pub(crate) fn while_watched<T: Send>(front: &str, phases: Phases, live: &Live, work: impl FnOnce() -> T + Send) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(front, phases, live, &over));
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    })
}

fn watch(front: &str, phases: Phases, live: &Live, over: &AtomicBool) {
    let start = Instant::now();
    let bar = ProgressBar::new(phases.total_ms());
    let terminal = std::io::stderr().is_terminal();
    if terminal {
        let style = ProgressStyle::with_template("{prefix:>8.bold} {bar:32.cyan/blue} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉▊▋▌▍▎▏ "));
        bar.set_prefix(front.to_owned());
    } else {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let (mut next_line, mut last) = (LINE_EVERY, (0, 0, 0));
    let mut last_at = start;
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let elapsed = start.elapsed();
        let now = figures(live);
        let text = line(phases, elapsed, now, last, last_at.elapsed());
        bar.set_position((elapsed.as_millis() as u64).min(phases.total_ms()));
        if elapsed >= next_line {
            next_line += LINE_EVERY;
            if !terminal {
                eprintln!("{front:>8}  {text}");
            }
        }
        if last_at.elapsed() >= Duration::from_secs(1) {
            bar.set_message(text);
            (last, last_at) = (now, Instant::now());
        }
    }
    bar.finish_and_clear();
}

fn figures(live: &Live) -> (u64, u64, u64) {
    let get = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
    (get(&live.real_done), get(&live.real_right), get(&live.attack_sent))
}

fn line(phases: Phases, elapsed: Duration, now: (u64, u64, u64), last: (u64, u64, u64), span: Duration) -> String {
    let ms = elapsed.as_millis() as u64;
    let phase = if ms < phases.before_ms {
        "before"
    } else if ms < phases.attack_end_ms() {
        "attack"
    } else {
        "after"
    };
    let (done, right) = (now.0 - last.0, now.1 - last.1);
    let share = if done > 0 { right as f64 * 100.0 / done as f64 } else { 100.0 };
    let attack = (now.2 - last.2) as f64 / span.as_secs_f64().max(0.2);
    format!(
        "{:>3}/{} s  {phase:<6}  real clients served {share:>5.1} %  attack {attack:>6.0}/s",
        ms / 1000,
        phases.total_ms() / 1000
    )
}
