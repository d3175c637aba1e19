//! temporary
mod io;
pub(crate) use io::GuardedHttp2;
