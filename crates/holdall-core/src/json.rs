//! Checks that a text is a doc, and says where it is not.
//!
//! This is its own scanner because no JSON library refuses what a doc refuses:
//! they keep the last of two equal names, round an integer beyond 64 bits to a
//! float, and do not say at which path.

use std::borrow::Cow;
use std::fmt::Write;

/// What is wrong with a text, and where: a path in a doc, or a byte.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) path: String,
    pub(crate) why: String,
}

/// Checks the text of an object, nested so deep at most, and answers it without
/// white space between tokens.
pub(crate) fn check(text: &str, max_depth: usize) -> Result<Cow<'_, str>, Flaw> {
    let mut scanner = Scanner {
        text,
        at: 0,
        max_depth,
        path: Vec::new(),
        blanks: false,
    };
    scanner.blank();
    let result = if scanner.peek() == Some(b'{') {
        scanner.value(0)
    } else {
        Err("it must be a JSON object".into())
    };
    let result = result.and_then(|()| {
        scanner.blank();
        match scanner.peek() {
            None => Ok(()),
            Some(_) => Err(scanner.at_byte("something follows the object")),
        }
    });
    match result {
        Ok(()) if scanner.blanks => Ok(Cow::Owned(without_blanks(text))),
        Ok(()) => Ok(Cow::Borrowed(text)),
        Err(why) => Err(Flaw {
            path: scanner.path_text(),
            why,
        }),
    }
}

enum Step<'a> {
    Name(Cow<'a, str>),
    Index(usize),
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
    path: Vec<Step<'a>>,
    blanks: bool,
}

type Check<T = ()> = Result<T, String>;

const ZERO: &str = "a string holds U+0000, which docs cannot hold";
const ENDLESS: &str = "it is not JSON: a string does not end";
const HALF: &str = "half of a surrogate pair stands alone";

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
            self.blanks = true;
        }
    }

    fn at_byte(&self, what: &str) -> String {
        format!("{what} (at byte {})", self.at)
    }

    fn value(&mut self, depth: usize) -> Check {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.at_byte("it is not JSON: a value was expected")),
            None => Err(self.at_byte("it is not JSON: the text ends too early")),
        }
    }

    fn word(&mut self, word: &str) -> Check {
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.at_byte("it is not JSON: a value was expected"))
        }
    }

    fn deeper(&self, depth: usize) -> Check {
        if depth > self.max_depth {
            return Err(format!(
                "it is nested deeper than {} levels",
                self.max_depth
            ));
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Check {
        self.deeper(depth)?;
        self.at += 1;
        self.blank();
        if self.eat(b'}') {
            return Ok(());
        }
        let mut names = Vec::new();
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.at_byte("it is not JSON: a name in quotes was expected"));
            }
            let name = self.name()?;
            self.blank();
            if !self.eat(b':') {
                return Err(self.at_byte("it is not JSON: a colon was expected"));
            }
            self.blank();
            self.path.push(Step::Name(name));
            self.value(depth)?;
            if let Some(Step::Name(name)) = self.path.pop() {
                names.push(name);
            }
            self.blank();
            match self.next() {
                Some(b',') => self.blank(),
                Some(b'}') => return unique(names),
                _ => return Err(self.at_byte("it is not JSON: a comma or } was expected")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Check {
        self.deeper(depth)?;
        self.at += 1;
        self.blank();
        if self.eat(b']') {
            return Ok(());
        }
        for index in 0.. {
            self.path.push(Step::Index(index));
            self.value(depth)?;
            self.path.pop();
            self.blank();
            match self.next() {
                Some(b',') => self.blank(),
                Some(b']') => break,
                _ => return Err(self.at_byte("it is not JSON: a comma or ] was expected")),
            }
        }
        Ok(())
    }

    /// Reads a name.
    fn name(&mut self) -> Check<Cow<'a, str>> {
        let start = self.at;
        let escaped = self.string()?;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        if !escaped {
            let bare = quoted.get(1..quoted.len() - 1);
            return Ok(Cow::Borrowed(bare.unwrap_or_default()));
        }
        serde_json::from_str(quoted)
            .map(Cow::Owned)
            .map_err(|_| self.at_byte("it is not JSON: a name is not well formed"))
    }

    /// Passes over a string; answers whether it has escapes.
    fn string(&mut self) -> Check<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            self.at += rest.iter().position(ends).unwrap_or(rest.len());
            match self.next() {
                Some(b'"') => return Ok(escaped),
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) => {
                    self.at -= 1;
                    return Err(self.at_byte(match byte {
                        0 => ZERO,
                        _ => "it is not JSON: a control character in a string must be escaped",
                    }));
                }
                None => return Err(self.at_byte(ENDLESS)),
            }
        }
    }

    /// Passes over what follows a backslash.
    fn escape(&mut self) -> Check {
        match self.next() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.four_digits()? {
                0 => Err(self.at_byte(ZERO)),
                0xD800..0xDC00 if self.eat(b'\\') && self.eat(b'u') => match self.four_digits()? {
                    0xDC00..0xE000 => Ok(()),
                    _ => Err(self.at_byte(HALF)),
                },
                0xD800..0xE000 => Err(self.at_byte(HALF)),
                _ => Ok(()),
            },
            Some(_) => Err(self.at_byte("it is not JSON: an escape is unknown")),
            None => Err(self.at_byte(ENDLESS)),
        }
    }

    fn four_digits(&mut self) -> Check<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.at_byte("it is not JSON: \\u takes four hexadecimal digits"));
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Check {
        let start = self.at;
        let negative = self.eat(b'-');
        let leading_zero = self.eat(b'0');
        let mut sound = leading_zero || self.digits();
        if leading_zero && matches!(self.peek(), Some(b'0'..=b'9')) {
            sound = false;
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            sound &= self.digits();
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            let _sign = self.eat(b'+') || self.eat(b'-');
            sound &= self.digits();
        }
        if !sound {
            return Err(self.at_byte("it is not JSON: a number is not well formed"));
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let fits = match (whole, negative) {
            (true, false) => text.parse::<u64>().is_ok(),
            (true, true) => text.parse::<i64>().is_ok(),
            (false, _) => text.parse::<f64>().is_ok_and(f64::is_finite),
        };
        if fits {
            return Ok(());
        }
        let shown: String = text.chars().take(40).collect();
        Err(if whole {
            format!(
                "the integer {shown} does not fit into 64 bits; write it as a string to keep it exactly"
            )
        } else {
            format!("the number {shown} is too large for a 64-bit float; write it as a string")
        })
    }

    fn path_text(&self) -> String {
        let mut out = String::from("$doc");
        for step in &self.path {
            match step {
                Step::Name(name) => {
                    let shown: String = name.chars().take(60).collect();
                    let _infallible = write!(out, ".{shown}");
                }
                Step::Index(index) => {
                    let _infallible = write!(out, ".{index}");
                }
            }
        }
        out
    }
}

fn unique(mut names: Vec<Cow<'_, str>>) -> Check {
    names.sort_unstable();
    let twice = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b);
    match twice {
        None => Ok(()),
        Some((name, _)) => Err(format!("the name {name:?} stands in one object twice")),
    }
}

/// Drops the white space between the tokens of a checked text.
fn without_blanks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    for character in text.chars() {
        if inside {
            inside = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            inside = character == '"';
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc::MAX_DEPTH;

    fn check(text: &str) -> Result<Cow<'_, str>, Flaw> {
        super::check(text, MAX_DEPTH)
    }

    fn why(text: &str) -> (String, String) {
        let flaw = check(text).expect_err(text);
        (flaw.path, flaw.why)
    }

    #[test]
    fn what_a_doc_is() {
        for text in [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":-9223372036854775808,"b":18446744073709551615}"#,
            r#"{"a":1.5e308,"b":-0,"c":0.1,"d":1E+2}"#,
            r#"{"a":[true,false,null,[],{}],"\ud83d\ude00":"\u0001\"\\\/\b\f\n\r\t"}"#,
        ] {
            assert_eq!(check(text).unwrap(), text);
        }
        assert_eq!(
            check(" { \"a\\\" \" : [ 1 , \" b \" ] } \n").unwrap(),
            r#"{"a\" ":[1," b "]}"#
        );
    }

    #[test]
    fn what_is_refused_and_where() {
        for (text, path, part) in [
            ("", "$doc", "object"),
            ("[]", "$doc", "object"),
            ("1", "$doc", "object"),
            ("{} x", "$doc", "follows"),
            (r#"{"a":1,"a":2}"#, "$doc", "\"a\""),
            (r#"{"x":{"a":1,"\u0061":2}}"#, "$doc.x", "\"a\""),
            (r#"{"a":[0,"\u0000"]}"#, "$doc.a.1", "U+0000"),
            ("{\"a\":\"\0\"}", "$doc.a", "U+0000"),
            (r#"{"a":18446744073709551616}"#, "$doc.a", "64 bits"),
            (r#"{"a":-9223372036854775809}"#, "$doc.a", "64 bits"),
            (r#"{"a":1e309}"#, "$doc.a", "float"),
            (r#"{"a":"\ud800"}"#, "$doc.a", "surrogate"),
            (r#"{"a":"\udc00"}"#, "$doc.a", "surrogate"),
            (r#"{"a":"\ud800\u0041"}"#, "$doc.a", "surrogate"),
            (r#"{"a":01}"#, "$doc.a", "well formed"),
            (r#"{"a":1.}"#, "$doc.a", "well formed"),
            (r#"{"a":-}"#, "$doc.a", "well formed"),
            (r#"{"a":NaN}"#, "$doc.a", "value"),
            (r#"{"a":tru}"#, "$doc.a", "value"),
            (r#"{"a":"\x"}"#, "$doc.a", "escape"),
            (r#"{"a":"\u12"}"#, "$doc.a", "four"),
            ("{\"a\":\"\n\"}", "$doc.a", "control"),
            (r#"{"a":"#, "$doc.a", "early"),
            (r#"{"a":"x"#, "$doc.a", "end"),
            (r#"{"a":"x\"#, "$doc.a", "end"),
            (r#"{"a" 1}"#, "$doc", "colon"),
            (r#"{a:1}"#, "$doc", "quotes"),
            (r#"{"a":1,}"#, "$doc", "quotes"),
            (r#"{"a":[1,]}"#, "$doc.a.1", "value"),
            (r#"{"a":[1 2]}"#, "$doc.a", "comma"),
        ] {
            let (found, why) = why(text);
            assert_eq!(found, path, "{text}: {why}");
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn depth_holds_at_the_limit_and_one_past_it() {
        let nested = |levels: usize| {
            let inner = levels - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
        };
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        assert!(check(&nested(MAX_DEPTH + 1)).is_err());
        // A text that is nested without end is refused before the stack ends.
        assert!(check(&format!("{{\"a\":{}", "[".repeat(1_000_000))).is_err());
    }
}
