//! Examples of grants, for the configuration.

/// An example of a grant in the table of the plugin `name`.
fn example_grant(capability: &str, name: &str) -> String {
    let value = match capability {
        "sql" => format!("{{ default = \"sqlite:{name}.db\" }}"),
        "redis" => format!("{{ default = {{ url = \"redis://127.0.0.1:6379\", prefix = \"{name}:\" }} }}"),
        "keyvalue" => format!("{{ default = \"file:{name}.kv\" }}"),
        "http" => "[\"https://api.example.com\"]".into(),
        "secrets" => "{ default = \"env:SECRET\" }".into(),
        _ => "{ default = \"..\" }".into(),
    };
    format!("{capability} = {value}")
}

/// An example of a line that grants all of `capabilities`.
pub(super) fn example_grants(capabilities: &[&str], name: &str) -> String {
    let grants: Vec<_> = capabilities.iter().map(|capability| example_grant(capability, name)).collect();
    format!("grants = {{ {} }}", grants.join(", "))
}
