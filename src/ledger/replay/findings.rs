//! What the replay tells of, and the event that it is about.

/// How many findings are kept. More are only counted: a log with that many faults isn't mended by reading on.
pub const FINDINGS_MAX: usize = 100;

/// What can't be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The event's place in the log.
    pub sequence: u64,
    /// What the event is about, as far as that is known.
    pub about: String,
    /// What is wrong, so that it reads behind the place.
    pub problem: &'static str,
}

/// The event that is being looked at, as far as findings name it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) sequence: u64,
    pub(super) request: Option<&'a str>,
    pub(super) grant: Option<&'a str>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    /// How many there are, also beyond those that are kept.
    in_all: u64,
}

impl Findings {
    /// Those that are kept, and how many there are in all.
    pub(super) fn all(&self) -> (&[Finding], u64) {
        (&self.kept, self.in_all)
    }

    /// Tells of it unless it holds.
    pub(super) fn must(&mut self, place: Place<'_>, holds: bool, problem: &'static str) {
        if !holds {
            self.wrong(place, problem);
        }
    }

    /// Tells of it.
    pub(super) fn wrong(&mut self, place: Place<'_>, problem: &'static str) {
        let about = [("request ", place.request), ("grant ", place.grant)];
        let about = about.iter().filter_map(|(what, id)| Some(format!("{what}{}", (*id)?)));
        self.find(place.sequence, about.collect::<Vec<_>>().join(", "), problem);
    }

    /// Tells of something about nothing in particular.
    pub(super) fn find(&mut self, sequence: u64, about: String, problem: &'static str) {
        self.in_all += 1;
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { sequence, about, problem });
        }
    }
}
