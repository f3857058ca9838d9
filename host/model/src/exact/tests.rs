use proptest::prelude::*;
use serde_json::{Value, json};

use super::{from_json, from_json_with_event};
use crate::TraceEvent;

/// The JSON of an event with these texts in place of numbers.
fn event(attribute: &str, unknown: &str, percent: &str, throughput: &str, depth: &str) -> String {
    let event = TraceEvent { actor_id: "a \\ \"1e400\" b".into(), ..TraceEvent::default() };
    let mut event = serde_json::to_value(event).unwrap();
    event["data"]["custom_attributes"] = json!({ "size": "@attribute" });
    event["causality"]["newer"] = json!([true, { "of \"it\"": "@unknown" }]);
    let metrics = &mut event["data"]["performance_metrics"];
    metrics["cpu_usage_percent"] = "@percent".into();
    metrics["throughput_msgs_per_sec"] = "@throughput".into();
    metrics["queue_depth"] = "@depth".into();
    event
        .to_string()
        .replace("\"@attribute\"", attribute)
        .replace("\"@unknown\"", unknown)
        .replace("\"@percent\"", percent)
        .replace("\"@throughput\"", throughput)
        .replace("\"@depth\"", depth)
}

fn parsed(json: &str) -> Result<Value, String> {
    let parsed = from_json::<TraceEvent>(json.as_bytes());
    // The short way comes to the same result.
    for json in [json, &json.replace(r#"a \\ \"1e400\" b"#, "a")] {
        let again = from_json_with_event(json.as_bytes(), |event: &TraceEvent| Some(event));
        let same = |event: TraceEvent| TraceEvent { actor_id: String::new(), ..event };
        let outcome = |outcome: Result<TraceEvent, String>| match outcome {
            Ok(event) => Ok(same(event)),
            // The position is another one.
            Err(error) => Err(error.split(" at line").next().unwrap().to_owned()),
        };
        assert_eq!(outcome(again), outcome(parsed.clone()));
    }
    parsed.map(|event| serde_json::to_value(event).unwrap())
}

/// The digits of a number before and after the point, without an exponent and without zeros that say nothing.
fn written_out(number: &str) -> (bool, String, String) {
    let (sign, number) = number.strip_prefix('-').map_or((false, number), |number| (true, number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: isize = exponent.parse().unwrap();
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let padding = "0".repeat(exponent.unsigned_abs());
    let digits = format!("{padding}{whole}{fraction}{padding}");
    let point = (padding.len() + whole.len()).checked_add_signed(exponent).unwrap();
    let (whole, fraction) = (digits[..point].trim_start_matches('0'), digits[point..].trim_end_matches('0'));
    (sign && !(whole.is_empty() && fraction.is_empty()), whole.to_owned(), fraction.to_owned())
}

#[test]
fn a_number_that_would_be_changed_is_refused_with_its_path() {
    for number in
        ["18446744073709551616", "-9223372036854775809", "1e-400", "0.10000000000000001", "123456789012345678.5"]
    {
        let error = parsed(&event(number, "1", "1", "1", "1")).unwrap_err();
        assert!(error.contains(&format!("`data.custom_attributes.size` is {number}, ")), "{error}");
        let error = parsed(&event("1", number, "1", "1", "1")).unwrap_err();
        assert!(error.contains(&format!("`causality.newer[1][\"of \\\"it\\\"\"]` is {number}, ")), "{error}");
    }
    let error = parsed(&event("1", "1", "33.333333333", "1", "1")).unwrap_err();
    assert!(error.contains("`data.performance_metrics.cpu_usage_percent` is 33.333333333,"), "{error}");
    assert!(error.contains("would become 33.333332"), "{error}");
    let error = parsed(&event("1", "1", "1", "9007199254740993", "1")).unwrap_err();
    assert!(error.contains("`data.performance_metrics.throughput_msgs_per_sec` is 9007199254740993,"), "{error}");
    let error = parsed(&event("1", "1", "1", "1", "18446744073709551616")).unwrap_err();
    assert!(error.contains("`data.performance_metrics.queue_depth` is 18446744073709551616,"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_path() {
    for value in ["-1", "1.5", "\"many\"", "[7]"] {
        let error = parsed(&event("1", "1", "1", "1", value)).unwrap_err();
        assert!(error.starts_with("`data.performance_metrics.queue_depth`: invalid "), "{error}");
    }
    let error = from_json::<Vec<u8>>(b"[1,\n 2,\n 300]").unwrap_err();
    assert!(error.starts_with("`[2]`: invalid value"), "{error}");
}

#[test]
fn what_can_be_kept_is_kept() {
    for number in
        ["0", "-0", "-0.0", "0.1", "1.0", "1e21", "1E+2", "100000000000000000000", "18446744073709551615", "5e-324"]
    {
        parsed(&event(number, number, "12.5", "0.1", "3")).unwrap();
    }
    // Without floating-point numbers elsewhere, only the metrics are compared.
    for (percent, is_kept) in [("0.0", true), ("null", true), ("1e-400", false), ("0.333333333", false)] {
        assert_eq!(parsed(&event("1", "1", percent, "0.0", "1")).is_ok(), is_kept, "{percent}");
        assert_eq!(
            parsed(&event("1", "1", "0.0", percent, "1")).is_ok(),
            is_kept || percent == "0.333333333",
            "{percent}"
        );
    }
    // An attribute has no other type because of its name.
    let attributes = r#"{"cpu_usage_percent": 33.333333333, "throughput_msgs_per_sec": 9007199254740993}"#;
    let event = parsed(&event(attributes, "1", "33.3", "1", "1")).unwrap();
    assert_eq!(event["data"]["custom_attributes"]["size"]["throughput_msgs_per_sec"], json!(9007199254740993_u64));
}

#[test]
fn both_shortest_texts_of_a_number_are_kept() {
    for percent in ["2877393.2", "2877393.3"] {
        let event = parsed(&event("1", "1", percent, "1", "1")).unwrap();
        assert_eq!(event["data"]["performance_metrics"]["cpu_usage_percent"].as_f64(), Some(2_877_393.25));
    }
    assert!(parsed(&event("1", "1", "2877393.1", "1", "1")).is_err());
}

#[test]
fn errors_are_short_whatever_was_sent() {
    let deep = format!("{}{}{}", r#"{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":"#.repeat(60), "9".repeat(300), "}".repeat(60));
    let error = parsed(&event(&deep, "1", "1", "1", "1")).unwrap_err();
    assert!(error.len() < 1_000, "{error}");
    for broken in [&b"\"\\"[..], b"{\"a", b"[1,{\"b\\\"", b"12345678901234567890123", b"\xff", b""] {
        from_json::<TraceEvent>(broken).unwrap_err();
    }
}

proptest! {
    #[test]
    fn any_number_comes_back_equal_or_is_refused_with_its_path(
        number in r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        place in 0_usize..5,
    ) {
        let mut numbers = ["1", "1", "1", "1", "1"];
        numbers[place] = &number;
        let [attribute, unknown, percent, throughput, depth] = numbers;
        match parsed(&event(attribute, unknown, percent, throughput, depth)) {
            Ok(event) => {
                let metrics = &event["data"]["performance_metrics"];
                let back = match place {
                    0 => event["data"]["custom_attributes"]["size"].to_string(),
                    1 => event["causality"]["newer"][1]["of \"it\""].to_string(),
                    // The number of 32 bits, as it is written.
                    2 => serde_json::to_string(&(metrics["cpu_usage_percent"].as_f64().unwrap() as f32)).unwrap(),
                    3 => metrics["throughput_msgs_per_sec"].to_string(),
                    _ => metrics["queue_depth"].to_string(),
                };
                // A number in the middle of two shortest texts comes back as the other one.
                let is_middle = match place {
                    2 => number.parse::<f32>().is_ok_and(|single| written_out(&single.to_string()) == written_out(&number)),
                    0 | 1 | 3 => {
                        number.parse::<f64>().is_ok_and(|float| written_out(&float.to_string()) == written_out(&number))
                    }
                    _ => false,
                };
                prop_assert!(is_middle || written_out(&back) == written_out(&number), "{} came back as {}", number, back);
            }
            Err(error) => {
                let paths = ["custom_attributes.size", "newer[1]", "cpu_usage_percent", "throughput_msgs_per_sec", "queue_depth"];
                prop_assert!(error.contains(paths[place]), "{}", error);
            }
        }
    }

    #[test]
    fn what_programs_print_is_kept(float: f64, single: f32, unsigned: u64, signed: i64) {
        prop_assume!(float.is_finite() && single.is_finite());
        let json = |value: Value| value.to_string();
        let percent = serde_json::to_string(&single).unwrap();
        let sent = event(&json(float.into()), &json(signed.into()), &percent, &json(float.into()), &json(unsigned.into()));
        let event: TraceEvent = from_json(sent.as_bytes()).unwrap();
        prop_assert_eq!(event.data.custom_attributes["size"].as_f64(), Some(float));
        prop_assert_eq!(event.data.performance_metrics.cpu_usage_percent, Some(single));
        prop_assert_eq!(event.data.performance_metrics.throughput_msgs_per_sec, Some(float));
        prop_assert_eq!(event.data.performance_metrics.queue_depth, Some(unsigned));
        prop_assert_eq!(event.causality.more.get("newer"), Some(&json!([true, { "of \"it\"": signed }])));
    }
}
