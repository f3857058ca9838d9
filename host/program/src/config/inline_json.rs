//! A configuration as JSON, in a variable.

use std::fmt::Write;

use serde_json::{Map, Value};

/// The same as TOML, without what is `null`. Errors of TOML then describe JSON too, and quote one setting.
pub(super) fn to_toml(json: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(json).map_err(|error| format!("it is not valid JSON: {error}"))?;
    let Value::Object(tables) = value else { return Err("it is not a JSON object".into()) };
    let mut toml = String::new();
    append_table(&mut toml, "", &tables);
    Ok(toml)
}

/// Appends the settings of a table, then the tables in it. `path` is its name with a dot, or empty.
fn append_table(toml: &mut String, path: &str, table: &Map<String, Value>) {
    for (name, value) in table.iter().filter(|(_, value)| !value.is_null() && !value.is_object()) {
        let _ = write!(toml, "{} = ", quoted(name));
        append_value(toml, value);
        toml.push('\n');
    }
    for (name, value) in table {
        if let Value::Object(table) = value {
            let path = format!("{path}{}", quoted(name));
            let _ = writeln!(toml, "[{path}]");
            append_table(toml, &format!("{path}."), table);
        }
    }
}

fn append_value(toml: &mut String, value: &Value) {
    match value {
        Value::Object(table) => {
            toml.push('{');
            for (number, (name, value)) in table.iter().filter(|(_, value)| !value.is_null()).enumerate() {
                let comma = if number > 0 { ", " } else { "" };
                let _ = write!(toml, "{comma}{} = ", quoted(name));
                append_value(toml, value);
            }
            toml.push('}');
        }
        Value::Array(values) => {
            toml.push('[');
            for (number, value) in values.iter().enumerate() {
                toml.push_str(if number > 0 { ", " } else { "" });
                append_value(toml, value);
            }
            toml.push(']');
        }
        // Texts, numbers and truth values are written alike.
        other => {
            let _ = write!(toml, "{other}");
        }
    }
}

fn quoted(name: &str) -> Value {
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_toml_of_the_same_value() {
        let json = serde_json::json!({
            "server": {"host": "a\"\\\n\u{1}é😀", "port": 1, "a.b": {"x": [1.5, true, {"y": []}]}, "z": 1}, "empty": {},
        });
        let toml: toml::Table = toml::from_str(&to_toml(&json.to_string()).unwrap()).unwrap();
        assert_eq!(serde_json::to_value(toml).unwrap(), json);
        assert_eq!(to_toml(r#"{"a": null, "b": {"c": null, "d": 1}}"#).unwrap(), "[\"b\"]\n\"d\" = 1\n");
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        assert!(to_toml("{").unwrap_err().contains("line 1"));
        assert!(to_toml("[1]").unwrap_err().contains("object"));
    }
}
