//! JSON in its one spelling (RFC 8785), as far as it occurs here: no numbers but integers.

use serde_json::{Map, Value};

/// The spelling of a value.
pub(super) fn of(value: &Value) -> String {
    let mut text = String::with_capacity(512);
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => object(members, text),
        Value::Array(items) => list(items, ('[', ']'), text, write),
        // The library's own spelling of these is the canonical one: only what must be escaped is, in lower case.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

fn object(members: &Map<String, Value>, text: &mut String) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    list(members, ('{', '}'), text, |(name, value), text| {
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        write(value, text);
    });
}

fn list<T>(
    items: impl IntoIterator<Item = T>,
    (open, close): (char, char),
    text: &mut String,
    item: impl Fn(T, &mut String),
) {
    text.push(open);
    for (number, one) in items.into_iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        item(one, text);
    }
    text.push(close);
}

#[cfg(test)]
mod tests {
    /// RFC 8785, sections 3.2.2 and 3.2.3; the numbers of 3.2.2 don't occur here.
    #[test]
    fn published_spellings_come_out() {
        for (given, expected) in [
            (
                r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
                    "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",
                    "\u00f6":"Latin Small Letter O With Diaeresis"}"#,
                concat!(
                    "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",",
                    "\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",",
                    "\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
                ),
            ),
            (
                r#"{ "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false], "n": -1 }"#,
                "{\"literals\":[null,true,false],\"n\":-1,\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
            ),
        ] {
            assert_eq!(super::of(&serde_json::from_str(given).unwrap()), expected);
        }
    }
}
