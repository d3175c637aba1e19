//! How signatures are found and used at one service.

/// Whether signatures are looked for and acted upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignsMode {
    /// Found and acted upon.
    #[default]
    On,
    /// Found and told; nothing is done.
    DryRun,
    /// Not looked for.
    Off,
}

/// How signatures are used at one service.
#[derive(Clone, Debug, PartialEq)]
pub struct SignsConfig {
    /// Whether they are looked for and acted upon.
    pub mode: SignsMode,
    /// Whether people come here who can be shown a page; programs never are.
    pub challenges: bool,
    /// Largest part of the traffic of proven standing that a refusal may hit, 0 to 1. Default 0.001.
    pub collateral_max: f32,
}

impl Default for SignsConfig {
    fn default() -> Self {
        Self { mode: SignsMode::On, challenges: true, collateral_max: 0.001 }
    }
}
