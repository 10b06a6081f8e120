//! What commands print: nothing, a value, a table, a string; for people or as JSON (spec 22b §1).

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::{Map, Value};

/// The result of a command.
#[derive(Debug)]
pub(crate) enum Output {
    Nothing,
    /// A value, for people as YAML.
    Value(Value),
    Table(Table),
    /// For people this text as it is, otherwise the value.
    Text {
        text: String,
        json: Value,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Text above the table, for people.
    pub(crate) title: Option<String>,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Value>>,
    /// Instead of rows by column titles.
    pub(crate) json: Option<Value>,
}

impl Output {
    pub(crate) fn value(value: impl Serialize) -> anyhow::Result<Self> {
        Ok(Self::Value(serde_json::to_value(value)?))
    }

    pub(crate) fn table<const N: usize>(columns: [&'static str; N], rows: Vec<[Value; N]>) -> Self {
        let rows = rows.into_iter().map(Vec::from).collect();
        Self::Table(Table { columns: columns.into(), rows, ..Table::default() })
    }

    /// Sets the text above a table.
    pub(crate) fn titled(self, title: impl Into<String>) -> Self {
        match self {
            Self::Table(table) => Self::Table(Table { title: Some(title.into()), ..table }),
            other => other,
        }
    }

    /// Sets the JSON of a table.
    pub(crate) fn with_json(self, json: Value) -> Self {
        match self {
            Self::Table(table) => Self::Table(Table { json: Some(json), ..table }),
            other => other,
        }
    }

    /// Writes the result to standard output. A reader that has gone is no error.
    pub(crate) fn print(self, json: bool) {
        let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let text = if json { self.json() } else { self.plain(bold) };
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn json(self) -> String {
        let value = match self {
            Self::Nothing => Value::Null,
            Self::Value(value) | Self::Text { json: value, .. } => value,
            Self::Table(Table { json: Some(json), .. }) => json,
            Self::Table(Table { columns, rows, .. }) => {
                let object = |row: Vec<Value>| -> Value {
                    Value::Object(columns.iter().map(|name| (*name).to_owned()).zip(row).collect())
                };
                Value::Array(rows.into_iter().map(object).collect())
            }
        };
        let mut text = serde_json::to_string_pretty(&sorted(value)).unwrap_or_default();
        text.push('\n');
        text
    }

    fn plain(self, bold: bool) -> String {
        match self {
            Self::Nothing | Self::Value(Value::Null) => String::new(),
            Self::Value(Value::String(text)) | Self::Text { text, .. } => text + "\n",
            Self::Value(value) => {
                let mut text = String::new();
                yaml(&sorted(value), 0, &mut text);
                text.push('\n');
                text
            }
            Self::Table(table) => table.plain(bold),
        }
    }
}

/// Keys in alphabetical order, as clients have always seen them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(Map::from_iter(entries))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(out, "{pad}{}:", scalar(&Value::String(key.clone()), indent));
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        yaml(value, indent + 2, out);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        yaml(value, indent, out);
                    }
                    _ => {
                        let _ = writeln!(out, " {}", scalar(value, indent + 2));
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                yaml(item, indent + 2, &mut inner);
                let _ = write!(out, "{pad}- {}", inner.trim_start_matches(' '));
            }
        }
        other => {
            let _ = writeln!(out, "{pad}{}", scalar(other, indent));
        }
    }
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) if text.contains('\n') => {
            let pad = " ".repeat(indent.max(2));
            let mark = if text.ends_with('\n') { "|" } else { "|-" };
            text.lines().fold(mark.to_owned(), |out, line| format!("{out}\n{pad}{line}"))
        }
        Value::String(text) if needs_quotes(text) => format!("'{}'", text.replace('\'', "''")),
        Value::String(text) => text.clone(),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// Whether YAML would read the plain text as something else.
fn needs_quotes(text: &str) -> bool {
    let words = ["", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE"];
    let first = |c: char| "-?:,[]{}#&*!|>'\"%@`".contains(c);
    words.contains(&text)
        || text.parse::<f64>().is_ok()
        || text.strip_prefix("0x").is_some_and(|digits| u128::from_str_radix(digits, 16).is_ok())
        || text.trim() != text
        || text.contains(": ")
        || text.contains(" #")
        || text.ends_with(':')
        || (text.starts_with(first)
            && !(text.starts_with(['-', '?', ':']) && text.chars().nth(1).is_some_and(|c| c != ' ')))
        || text.chars().any(char::is_control)
}

impl Table {
    fn plain(&self, bold: bool) -> String {
        let cell = |value: &Value| -> Vec<String> {
            match value {
                Value::Null => vec![String::new()],
                Value::String(text) => text.lines().map(str::to_owned).collect(),
                other => vec![other.to_string()],
            }
        };
        let mut rows: Vec<Vec<Vec<String>>> = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        if rows.is_empty() {
            rows.push(vec![Vec::new(); self.columns.len()]);
        }
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, title)| {
                let cells = rows.iter().filter_map(|row| row.get(at)).flatten().map(|line| line.chars().count());
                cells.max().unwrap_or(0).max(title.chars().count()) + 4
            })
            .collect();
        let rule = |left: &str, middle: &str, right: &str| {
            let bars: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            format!("{left}{}{right}\n", bars.join(middle))
        };
        let line = |cells: &mut dyn Iterator<Item = &str>, bold: bool| {
            let mut line = String::new();
            for (width, text) in widths.iter().zip(cells) {
                let fill = " ".repeat(width.saturating_sub(2 + text.chars().count()));
                let text = if bold { format!("\x1b[1;32m{text}\x1b[0m") } else { text.to_owned() };
                let _ = write!(line, "│  {text}{fill}");
            }
            line + "│\n"
        };
        let mut out = self.title.as_ref().map(|title| format!("{title}\n")).unwrap_or_default();
        out += &rule("┌", "┬", "┐");
        out += &line(&mut self.columns.iter().copied(), bold);
        out += &rule("├", "┼", "┤");
        for row in &rows {
            for at in 0..row.iter().map(Vec::len).max().unwrap_or(0).max(1) {
                out += &line(&mut row.iter().map(|cell| cell.get(at).map_or("", String::as_str)), false);
            }
        }
        out + &rule("└", "┴", "┘")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_sorted_json_or_yaml() {
        let value = || {
            Output::Value(
                json!({ "b": "0.00", "a": { "x": null, "l": ["0x75d4151883e93cd3c40a8d19c0ad556fef959579", "2"] }, "e": {}, "t": "a: b" }),
            )
        };
        assert_eq!(
            value().plain(false),
            "a:\n  l:\n  - 0x75d4151883e93cd3c40a8d19c0ad556fef959579\n  - '2'\n  x: null\nb: '0.00'\ne: {}\nt: 'a: b'\n\n"
        );
        assert!(value().json().starts_with("{\n  \"a\": {\n    \"l\": [\n"));
        assert_eq!(Output::Nothing.json(), "null\n");
        assert_eq!(Output::Value(json!("bare")).plain(false), "bare\n");
    }

    #[test]
    fn tables_have_borders_and_one_row_at_least() {
        assert_eq!(
            Output::table(["a", "bc"], Vec::new()).plain(false),
            "┌─────┬──────┐\n│  a  │  bc  │\n├─────┼──────┤\n│     │      │\n└─────┴──────┘\n"
        );
        let two = || Output::table(["a", "in [MiB]"], vec![[json!("x\ny"), json!(true)]]);
        assert!(two().plain(false).contains("│  x  │  true      │\n│  y  │            │\n"));
        assert_eq!(two().json(), "[\n  {\n    \"a\": \"x\\ny\",\n    \"in [MiB]\": true\n  }\n]\n");
    }
}
