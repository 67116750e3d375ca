//! Some leaves in their order, on their way from the thread that reads and hashes to the one that follows.

/// Leaves that follow each other, and the texts beside them: as bytes, which are hashed, and then as text, which is read.
#[derive(Debug, Default)]
pub struct Batch<Bytes = Vec<u8>> {
    bytes: Bytes,
    /// Where each leaf begins, and where it ends.
    leaves: Vec<(usize, usize)>,
    /// All texts, and where each leaf's are in them.
    beside: String,
    texts: Vec<Option<(usize, usize)>>,
}

impl Batch {
    /// Adds a leaf with its texts, which are JSON.
    pub fn push(&mut self, leaf: &[u8], texts: Option<&str>) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(leaf);
        self.leaves.push((begin, self.bytes.len()));
        self.texts.push(None);
        if let Some(texts) = texts {
            self.put_texts(self.texts.len() - 1, texts);
        }
    }

    /// Of lines, each with its end. What comes behind the last end isn't taken.
    pub(super) fn of_lines(bytes: Vec<u8>) -> Self {
        let (mut leaves, mut begin) = (Vec::with_capacity(bytes.len() / 256), 0);
        for end in memchr::memchr_iter(b'\n', &bytes) {
            leaves.push((begin, end));
            begin = end + 1;
        }
        let texts = vec![None; leaves.len()];
        Self { bytes, leaves, beside: String::new(), texts }
    }

    /// The leaves.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &[u8]> {
        self.leaves.iter().map(|(begin, end)| self.bytes.get(*begin..*end).unwrap_or_default())
    }

    /// The same as text, which is looked at here, as long as the bytes are at hand. A leaf that isn't UTF-8 is empty, which
    /// is no leaf.
    pub(super) fn into_text(self) -> Batch<String> {
        let Self { bytes, mut leaves, beside, texts } = self;
        let bytes = String::from_utf8(bytes).unwrap_or_else(|error| {
            let (bytes, mut whole) = (error.into_bytes(), String::new());
            for (begin, end) in &mut leaves {
                let leaf = bytes.get(*begin..*end).map(std::str::from_utf8);
                *begin = whole.len();
                whole.push_str(leaf.and_then(Result::ok).unwrap_or_default());
                *end = whole.len();
            }
            whole
        });
        Batch { bytes, leaves, beside, texts }
    }
}

impl Batch<String> {
    /// The leaves, each with the texts beside it.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let leaf = |(begin, end): &(usize, usize)| self.bytes.get(*begin..*end).unwrap_or_default();
        let beside =
            |place: &Option<(usize, usize)>| place.and_then(|(begin, end)| self.beside.get(begin..end));
        self.leaves.iter().map(leaf).zip(self.texts.iter().map(beside))
    }
}

impl<Bytes> Batch<Bytes> {
    /// Adds the texts of one of its leaves.
    pub(super) fn put_texts(&mut self, number: usize, texts: &str) {
        if let Some(place) = self.texts.get_mut(number) {
            let begin = self.beside.len();
            self.beside.push_str(texts);
            *place = Some((begin, self.beside.len()));
        }
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_that_is_no_text_is_empty_and_the_others_are_as_they_were() {
        let mut batch = Batch::of_lines(b"one\n\xff\xfe\nzwei \xc3\xbc\n".to_vec());
        batch.push(b"last", Some("{}"));
        assert_eq!(batch.leaves().nth(1), Some(b"\xff\xfe".as_slice()));
        let texts: Vec<_> =
            batch.into_text().texts().map(|(leaf, beside)| (leaf.to_owned(), beside.is_some())).collect();
        let expected = [("one", false), ("", false), ("zwei \u{fc}", false), ("last", true)];
        assert_eq!(texts, expected.map(|(leaf, beside)| (leaf.to_owned(), beside)));
    }
}
