//! Patterns of file sets (spec 53 §2.4): `*` and `?` stay inside a path component, `**` crosses them.

use regex::{Regex, RegexBuilder};

use crate::TransferError;

const PATTERN_LEN_MAX: usize = 1024;
/// Memory that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Compiles a pattern; the result matches whole paths relative to the folder.
pub(crate) fn compile(pattern: &str) -> Result<Regex, TransferError> {
    if pattern.len() > PATTERN_LEN_MAX {
        return Err(TransferError::Glob(format!("a pattern is longer than {PATTERN_LEN_MAX} bytes")));
    }
    let bad = |why: &str| TransferError::Glob(format!("`{pattern}` {why}"));
    let mut regex = String::from("^");
    let mut chars = pattern.strip_prefix("./").unwrap_or(pattern).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // `**/` also means no folder at all.
                regex.push_str(if chars.next_if_eq(&'/').is_some() { "(?:.*/)?" } else { ".*" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                regex.push('[');
                if chars.next_if(|c| matches!(c, '!' | '^')).is_some() {
                    regex.push('^');
                }
                loop {
                    match chars.next().ok_or_else(|| bad("has an open `[`"))? {
                        ']' => break,
                        '-' => regex.push('-'),
                        c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
                    }
                }
                regex.push(']');
            }
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    let compiled = RegexBuilder::new(&regex).dot_matches_new_line(true).size_limit(COMPILED_BYTES_MAX).build();
    compiled.map_err(|error| bad(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, path, expected) in [
            ("*.o", "a.o", true),
            ("*.o", "d/a.o", false),
            ("**/*", "a", true),
            ("**/*", "d/e/a", true),
            ("**/*.o", "d/a.o", true),
            ("d/**", "d/e/f", true),
            ("d/**", "e/f", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("a.b", "axb", false),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(path), expected, "{pattern} {path}");
        }
        for bad in ["[a", "[", &"*".repeat(2000)] {
            assert!(compile(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_compiled_or_refused(pattern: String) {
            drop(compile(&pattern));
        }
    }
}
