//! OpenSSH's lists of patterns (`ssh_config(5)`, PATTERNS): separated by commas, with `*` for any bytes, `?` for one, and
//! `!` before what must not match.

/// The longest pattern, in bytes; OpenSSH lets a list with a longer one match nothing.
const PATTERN_MAX_BYTES: usize = 1022;

/// Whether a text matches a list: one pattern at least, and none of those with a `!`.
pub(super) fn matches_list(text: &str, list: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        if pattern.len() > PATTERN_MAX_BYTES {
            return false;
        }
        if matches(text.as_bytes(), pattern.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// In time proportional to the two lengths' product at most: only the last `*` is ever tried again.
fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                last_star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(at) => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                (at, in_pattern) = (from + 1, star + 1);
            }
        }
    }
    pattern.iter().skip(in_pattern).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_openssh_s() {
        let cases = [
            ("vault:a", "vault:a", true),
            ("vault:a", "vault:b,vault:a", true),
            ("vault:a", "vault:*", true),
            ("vault:a", "*", true),
            ("vault:a", "vault:?", true),
            ("vault:ab", "vault:?", false),
            ("vault:a", "*,!vault:a", false),
            ("vault:a", "!vault:a,*", false),
            ("vault:a", "!vault:b", false),
            ("vault:a", "!vault:b,*", true),
            ("vault:a", "", false),
            ("", "", true),
            ("", "*", true),
            ("vault:a", "VAULT:A", false),
            ("aXbXc", "a*b*c", true),
            ("aXbX", "a*b*c", false),
            ("aaaaab", "*a*b", true),
            ("vault:*", "vault:a", false),
            ("é", "??", true),
            ("vault:a", "vault:a, vault:b", true),
            ("vault:b", "vault:a, vault:b", false),
        ];
        for (text, list, expected) in cases {
            assert_eq!(matches_list(text, list), expected, "{text} {list}");
        }
        let long = "x".repeat(PATTERN_MAX_BYTES + 1);
        assert!(!matches_list("a", &format!("a,{long}")));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches_list(&"a".repeat(500), &format!("{}b", "*a".repeat(250))));
    }
}
