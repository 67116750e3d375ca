//! The report of a month as one HTML page: the numbers, a chart or two, and the dossier of each exception.
//!
//! The page needs nothing beside itself and runs nothing: no script, no address, no font. What people wrote is escaped and
//! can't become a part of the page. It is made piece by piece, so that the memory doesn't grow with the month.

mod chart;
mod html;
mod page;
mod verb;

pub(super) use self::verb::run;
pub use self::{
    page::{Month, Numbers, end, exception, head},
    verb::ReportArgs,
};
