//! The report of a month as one HTML page: the numbers, a chart or two, and the dossier of each exception.
//!
//! The page needs nothing beside itself and runs nothing: no script, no address, no font. What people wrote is escaped and
//! can't become a part of the page. It is made piece by piece, so that the memory doesn't grow with the month.
//!
//! `hallpass audit report` and the daemon, by its schedule, make the same page; each fetches in its own way what stands in
//! it.

mod chart;
mod html;
mod page;
mod verb;

pub use self::{
    page::{Day, Month, Numbers, end, exception, head},
    verb::{ReportArgs, run},
};
