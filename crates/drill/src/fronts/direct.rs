//! Nothing in front: clients reach the services themselves.

use crate::front::{Front, FrontContext, RunningFront};

/// No front at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Front for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn missing(&self) -> Option<String> {
        None
    }

    fn start(&self, context: &FrontContext<'_>) -> anyhow::Result<RunningFront> {
        let mut front = RunningFront::new(Vec::new());
        front.per_service = context.services.iter().map(|s| (s.name.clone(), s.upstream)).collect();
        Ok(front)
    }
}
