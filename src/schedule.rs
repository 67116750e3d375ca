//! stub
use chrono::{DateTime, Utc};
/// stub
#[derive(Debug)]
pub struct Schedule;
impl Schedule {
    /// stub
    pub fn next_after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now
    }
}
