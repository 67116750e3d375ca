//! Just enough of Rust to see which paths a file names: words, `::`, braces, commas and `as`.

/// What a file names, with `self` and `super` resolved to `crate::…`.
#[derive(Debug, Default, PartialEq)]
pub struct Named {
    /// By any path of at least two parts, or in a `use`.
    pub paths: Vec<Vec<String>>,
    /// In a `use`, from elsewhere.
    pub used: Vec<Vec<String>>,
}

/// Goes through a file's words and signs.
#[derive(Debug)]
pub struct Reader {
    tokens: Vec<String>,
    at: usize,
}

impl Reader {
    pub fn new(source: &str) -> Self {
        Self { tokens: tokens(&bare(source)), at: 0 }
    }

    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn take(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    pub fn read(mut self, file: &[String]) -> Named {
        let (mut named, mut module, mut depth) = (Named::default(), file.to_vec(), 0_usize);
        // The depths at which an inline module began.
        let mut inline = Vec::new();
        while self.at < self.tokens.len() {
            if self.at_test_module() {
                self.skip_item();
                continue;
            }
            match self.peek(0) {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        module.pop();
                    }
                }
                "mod" if self.peek(2) == "{" => {
                    module.push(self.peek(1).to_owned());
                    inline.push(depth);
                    self.at += 1;
                }
                "use" => {
                    self.at += 1;
                    let mut found = Vec::new();
                    self.tree(&mut Vec::new(), &mut found);
                    let found = found.into_iter().map(|path| resolved(path, &module));
                    for path in found {
                        named.used.push(path.clone());
                        named.paths.push(path);
                    }
                    continue;
                }
                word if is_word(word) && self.peek(1) == "::" => {
                    let path = self.path();
                    named.paths.push(resolved(path, &module));
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        named
    }

    /// `#[cfg(test)]`, perhaps with more attributes, before a module.
    fn at_test_module(&self) -> bool {
        let cfg = ["#", "[", "cfg", "(", "test", ")", "]"];
        if !cfg.iter().enumerate().all(|(n, token)| self.peek(n) == *token) {
            return false;
        }
        let mut ahead = cfg.len();
        while self.peek(ahead) == "#" {
            while !matches!(self.peek(ahead), "]" | "") {
                ahead += 1;
            }
            ahead += 1;
        }
        self.peek(ahead) == "mod" || (self.peek(ahead) == "pub" && self.peek(ahead + 1) == "mod")
    }

    /// To the end of the item: its semicolon or its closing brace.
    fn skip_item(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.take().as_str() {
                "{" => depth += 1,
                "}" if depth <= 1 => return,
                "}" => depth -= 1,
                ";" if depth == 0 => return,
                _ => {}
            }
        }
    }

    /// `a::b::c`; what follows the last word is left.
    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.take()];
        while self.peek(0) == "::" && is_word(self.peek(1)) {
            self.at += 1;
            path.push(self.take());
        }
        if self.peek(0) == "::" {
            self.at += 1;
        }
        path
    }

    /// One tree of a `use`: a path, then nothing, `as`, `*`, or a group of trees.
    fn tree(&mut self, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        let depth = prefix.len();
        loop {
            match self.peek(0) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.tree(prefix, found);
                    }
                    self.at += 1;
                    self.end_of_tree();
                    break;
                }
                "*" | "as" | "," | ";" | "}" | "" => {
                    found.push(prefix.clone());
                    self.end_of_tree();
                    break;
                }
                // `a::{self}` names `a`.
                "self" if !prefix.is_empty() => self.at += 1,
                _ => prefix.push(self.take()),
            }
        }
        prefix.truncate(depth);
    }

    /// Past the comma or the semicolon; a closing brace is left to the group.
    fn end_of_tree(&mut self) {
        while !matches!(self.peek(0), "," | ";" | "}" | "") {
            self.at += 1;
        }
        if matches!(self.peek(0), "," | ";") {
            self.at += 1;
        }
    }
}

/// From `self`, `super` and the library's own name to `crate`.
fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|word| *word == "super" || *word == "self").count();
    let ups = path.iter().take(supers).filter(|word| *word == "super").count();
    match path[0].as_str() {
        "self" | "super" => {
            let base = &module[..module.len().saturating_sub(ups)];
            let rest = path[supers..].iter().cloned();
            std::iter::once("crate".to_owned()).chain(base.iter().cloned()).chain(rest).collect()
        }
        "hallpass" => std::iter::once("crate".to_owned()).chain(path.into_iter().skip(1)).collect(),
        _ => path,
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("::") {
            2
        } else if is_part(first) {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    tokens
}

/// The source without comments and without what is in literals.
fn bare(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let (mut out, mut at) = (String::new(), 0);
    while at < chars.len() {
        let rest = &chars[at..];
        let skipped = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => text(rest),
            ['r', '"' | '#', ..] if !ends_in_word(&out) => raw_text(rest),
            ['b', 'r', '"' | '#', ..] if !ends_in_word(&out) => raw_text(&rest[1..]) + 1,
            ['\'', '\\', ..] => 3 + rest.iter().skip(3).position(|c| *c == '\'').unwrap_or(rest.len()),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if skipped > 1 {
            out.push(' ');
            at += skipped;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn text(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"…"`, `r#"…"#`; for `r#word` nothing is skipped.
fn raw_text(rest: &[char]) -> usize {
    let hashes = rest.iter().skip(1).take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let body = 2 + hashes;
    let ends = |at: &usize| {
        rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').take(hashes).count() == hashes
    };
    (body..rest.len()).find(ends).map_or(rest.len(), |end| end + 1 + hashes)
}

#[test]
fn nested_groups_are_read_whole() {
    let source =
        "use crate::{self, a::{b::{c, d as e}, self, f::*}, g}; use ::h::{i}; pub(super) use super::j;";
    let read = Reader::new(source).read(&["x".to_owned(), "y".to_owned()]);
    let used: Vec<String> = read.used.iter().map(|path| path.join("::")).collect();
    let expected =
        ["crate", "crate::a::b::c", "crate::a::b::d", "crate::a", "crate::a::f", "crate::g", "h::i"];
    assert_eq!(used[..7], expected);
    assert_eq!(used[7..], ["crate::x::j"]);
}
