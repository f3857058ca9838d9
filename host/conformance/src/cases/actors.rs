use super::super::case::cases;
use super::super::{Outcome, Store};
use super::sample::{event_of, finds, store_each, trace, with_events};
use reflow_tracing_model::{FlowTrace, TraceQuery};

cases! { "actors":
    an_actor_is_matched_by_any_part_of_its_id => "actor_filter is a substring of an event's actor_id.",
    an_actor_is_matched_case_sensitively => "actor_filter is case-sensitive, even beyond ASCII.",
    special_characters_stand_for_themselves => "actor_filter has no wildcards and no escapes.",
    text_is_matched_by_its_characters_not_by_its_look => "actor_filter compares code points; no normalisation.",
    an_empty_filter_matches_traces_with_any_event => "The empty text is part of every actor_id; a trace without events has none.",
    an_actor_of_many_events_gives_a_trace_once => "A trace is found once, however many of its events match.",
}

fn of_actor(number: u32, actor: &str) -> FlowTrace {
    with_events(trace(number), [event_of(number, actor)])
}

async fn filtered(store: &Store, part: &str, expected: &[&FlowTrace]) -> Outcome {
    let query = TraceQuery { actor_filter: Some(part.into()), ..TraceQuery::default() };
    finds(store, &format!("traces with an actor like {part:?}"), query, expected).await
}

async fn an_actor_is_matched_by_any_part_of_its_id(store: &Store) -> Outcome {
    let traces = [of_actor(1, "invoice-parser"), of_actor(2, "parser"), of_actor(3, "parse"), of_actor(4, "mailer")];
    store_each(store, &traces).await?;
    filtered(store, "parser", &[&traces[1], &traces[0]]).await?;
    filtered(store, "invoice", &[&traces[0]]).await?;
    filtered(store, "oice-pars", &[&traces[0]]).await?;
    filtered(store, "r", &[&traces[3], &traces[2], &traces[1], &traces[0]]).await?;
    filtered(store, "invoice-parser-2", &[]).await
}

async fn an_actor_is_matched_case_sensitively(store: &Store) -> Outcome {
    let traces = [of_actor(1, "Parser"), of_actor(2, "parser"), of_actor(3, "ÉCLAIR"), of_actor(4, "éclair")];
    store_each(store, &traces).await?;
    filtered(store, "Pars", &[&traces[0]]).await?;
    filtered(store, "pars", &[&traces[1]]).await?;
    filtered(store, "É", &[&traces[2]]).await?;
    filtered(store, "é", &[&traces[3]]).await?;
    filtered(store, "PARSER", &[]).await
}

async fn special_characters_stand_for_themselves(store: &Store) -> Outcome {
    let specials = ["%", "_", "*", "?", "'", "\"", "\\", "[a-z]", "^$", "\0", "\n", "{}", "--", "\\%", "$1"];
    let traces: Vec<_> = (1..).zip(specials).map(|(number, text)| of_actor(number, &format!("a{text}b"))).collect();
    store_each(store, &traces).await?;
    store.store_trace(of_actor(100, "axb")).await?;
    for (text, trace) in specials.into_iter().zip(&traces) {
        match text {
            // Two actors hold these.
            "%" | "\\" => continue,
            _ => filtered(store, text, &[trace]).await?,
        }
        filtered(store, &format!("a{text}b"), &[trace]).await?;
    }
    filtered(store, "a%b", &[&traces[0]]).await?;
    filtered(store, "%", &[&traces[13], &traces[0]]).await?;
    filtered(store, "\\", &[&traces[13], &traces[6]]).await?;
    filtered(store, "%%", &[]).await
}

async fn text_is_matched_by_its_characters_not_by_its_look(store: &Store) -> Outcome {
    let traces = [of_actor(1, "caf\u{e9}"), of_actor(2, "cafe\u{301}"), of_actor(3, "日本語"), of_actor(4, "👩‍👧")];
    store_each(store, &traces).await?;
    filtered(store, "\u{e9}", &[&traces[0]]).await?;
    filtered(store, "e\u{301}", &[&traces[1]]).await?;
    filtered(store, "e", &[&traces[1]]).await?;
    filtered(store, "本", &[&traces[2]]).await?;
    filtered(store, "👧", &[&traces[3]]).await
}

async fn an_empty_filter_matches_traces_with_any_event(store: &Store) -> Outcome {
    let traces = [of_actor(1, "parser"), of_actor(2, ""), trace(3)];
    store_each(store, &traces).await?;
    filtered(store, "", &[&traces[1], &traces[0]]).await
}

async fn an_actor_of_many_events_gives_a_trace_once(store: &Store) -> Outcome {
    let traces = [
        with_events(trace(1), (0..50).map(|number| event_of(number, "parser"))),
        with_events(trace(2), [event_of(1, "mailer"), event_of(2, "parser")]),
    ];
    store_each(store, &traces).await?;
    filtered(store, "parser", &[&traces[1], &traces[0]]).await
}
