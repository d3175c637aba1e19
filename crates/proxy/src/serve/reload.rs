//! Signals, reloads, certificates that change, and the watchdog of systemd.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Node, Totals};
use crate::admin::ReloadStatus;
use crate::clock;
use crate::config::{self, Config, Effect};
use crate::forward::health;
use crate::listen::tls::Changed;
use crate::setup::{Setup, known_after};

/// How often certificate files are looked at.
const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(2);

/// Seconds since 1970.
pub(super) fn unix_s() -> i64 {
    clock::unix_s() as i64
}

/// The state after the start.
pub(super) fn first() -> ReloadStatus {
    ReloadStatus { success: true, loaded_unix_s: unix_s(), error: None }
}

/// Active health checks of the configuration in force, over reloads.
pub(super) async fn check_health(mut setups: watch::Receiver<Arc<Setup>>, first: Arc<Setup>) {
    let mut setup = first;
    loop {
        let mut changes = setups.clone();
        let changed = async move {
            // A sender that is gone means the end: the runtime ends with it.
            let _ = changes.changed().await;
        };
        health::run(&setup.pools, setup.generation ^ 0x5eed, changed).await;
        if setups.has_changed().is_err() {
            return;
        }
        setup = setups.borrow_and_update().clone();
    }
}

impl Node {
    /// Waits for TERM or INT; reloads on HUP and when certificates change.
    pub(super) async fn watch(&mut self, interval: Duration, mut tell: impl FnMut(&Totals)) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut beat = tokio::time::interval(interval);
        let mut certificates = tokio::time::interval(CERTIFICATES_INTERVAL);
        notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status("open")]);
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let mut pat =
            tokio::time::interval(watchdog.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(100)));
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = beat.tick() => tell(&self.totals()),
                _ = certificates.tick() => self.renew_certificates(),
                _ = pat.tick(), if watchdog.is_some() => notify(&[sd_notify::NotifyState::Watchdog]),
            }
        }
        notify(&[sd_notify::NotifyState::Stopping]);
        Ok(())
    }

    /// Reads the configuration anew; a bad one changes nothing.
    fn reload(&mut self) {
        if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
            notify(&[sd_notify::NotifyState::Reloading, now]);
        }
        self.log.reopen();
        let outcome = match config::load(&self.file) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    eprintln!("guichet: warning: {warning}");
                }
                self.take(loaded.config)
            }
            Err(report) => Err(report.render(false)),
        };
        let now_s = unix_s();
        self.registry.set_reload(outcome.is_ok(), now_s);
        let mut status = self.status.reload.lock();
        match outcome {
            Ok(()) => {
                *status = ReloadStatus { success: true, loaded_unix_s: now_s, error: None };
                eprintln!("guichet: configuration reloaded");
            }
            Err(error) => {
                eprintln!("guichet: the configuration before stays in force:\n{error}");
                status.success = false;
                status.error = Some(error);
            }
        }
        drop(status);
        notify(&[sd_notify::NotifyState::Ready]);
    }

    /// Puts a new configuration in force, as far as that can be done without a restart.
    fn take(&mut self, config: Config) -> Result<(), String> {
        let former = self.setups.borrow().clone();
        for change in Config::diff(&former.config, &config) {
            if change.effect == Effect::Restart {
                eprintln!("guichet: {} changes only with a restart", change.what);
            }
        }
        if let Some(store) = &self.certificates
            && former.config.certificates != config.certificates
        {
            store.replace(&config.certificates).map_err(|error| error.to_string())?;
            self.registry.set_certificates(store.expiries());
        }
        self.sources.set_known_after(known_after(&config));
        let setup = Setup::new(
            config,
            &self.seed,
            self.sources.clone(),
            former.signs.clone(),
            former.contracts.clone(),
            &self.registry,
            Some(&former),
        )
        .map_err(|error| error.to_string())?;
        self.setups.send_replace(Arc::new(setup));
        Ok(())
    }

    fn renew_certificates(&self) {
        let Some(store) = &self.certificates else { return };
        let mut failing = self.status.certificates_failing.lock();
        match store.reload() {
            Ok(Changed::Nothing) => {}
            Ok(Changed::Reloaded) => {
                eprintln!("guichet: certificates reloaded");
                self.registry.set_certificates(store.expiries());
                *failing = None;
            }
            Err(error) => {
                let error = error.to_string();
                // Told once, not every two seconds.
                if failing.as_ref() != Some(&error) {
                    eprintln!("guichet: new certificates were not taken: {error}");
                    *failing = Some(error);
                }
            }
        }
    }
}

/// Tells systemd; elsewhere there is nobody to tell.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
