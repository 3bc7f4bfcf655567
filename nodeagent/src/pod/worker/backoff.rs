//! What is shown while something is delayed: `CrashLoopBackOff` and `ImagePullBackOff`, with their events.

use super::*;

impl Worker {
    pub(super) fn show_back_offs(&mut self, steps: &Steps) {
        for (name, until) in &steps.backing_off {
            let delay = self.backoff.delay(name);
            let message = start::crash_loop_message(&self.pod, name, delay);
            self.state.waiting.insert(name.clone(), Waiting::new("CrashLoopBackOff", message));
            if self.reported_backoff.insert(name.clone(), *until) != Some(*until) {
                let kind =
                    spec::find_container(&spec::spec(&self.pod), name).map_or(Kind::Regular, |(k, _)| k);
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    spec::display(&self.pod)
                );
                self.ctx.container_event(&self.pod, kind, name, EventType::Warning, "BackOff", message);
            }
        }
    }

    /// A failed pull is shown as `ErrImagePull` first, as `ImagePullBackOff` while the next one is awaited.
    pub(super) fn show_pull_back_offs(&mut self, now: Timestamp) {
        for (name, (since, until)) in self.pull_failures.clone() {
            let Some(waiting) = self.state.waiting.get(&name) else { continue };
            if waiting.reason != "ErrImagePull" || now >= until {
                continue;
            }
            if now < since + PULL_BACKOFF_SHOWN_AFTER {
                self.wake(since + PULL_BACKOFF_SHOWN_AFTER);
                continue;
            }
            let spec = spec::spec(&self.pod);
            let Some((kind, container)) = spec::find_container(&spec, &name) else { continue };
            let back_off =
                format!("Back-off pulling image \"{}\"", container.image.as_deref().unwrap_or_default());
            let event = |type_, reason, message: String| {
                self.ctx.container_event(&self.pod, kind, &name, type_, reason, message);
            };
            event(EventType::Normal, "BackOff", back_off.clone());
            event(EventType::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
            let message = format!("{back_off}: ErrImagePull: {}", waiting.message);
            self.state.waiting.insert(name.clone(), Waiting::new("ImagePullBackOff", message));
        }
    }
}
