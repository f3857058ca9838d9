//! Events as lines, for people.

use std::fmt::Write;

use clap::builder::styling::{AnsiColor, Effects, Style};

use super::follow::Notification;
use crate::cli::printable::printable;
use crate::cli::table::{detail, display_time};
use reflow_tracing::{FlowId, TraceEventKind};

/// The digits of a trace's id that are usually enough.
const SHORT_ID: usize = 8;

/// A column grows with what is in it, up to this many characters. What is longer moves the columns after it in that line.
const WIDEST: usize = 32;

/// An event.
pub(super) struct Line<'a> {
    pub notification: &'a Notification,
    /// The flow, if it is known.
    pub flow: Option<&'a FlowId>,
}

/// Writes lines whose columns stay aligned as far as possible.
pub(super) struct Lines {
    is_coloured: bool,
    full_ids: bool,
    /// Of flow, type, actor and port.
    widths: [usize; 4],
}

impl Lines {
    pub(super) fn new(is_coloured: bool, full_ids: bool) -> Self {
        Self { is_coloured, full_ids, widths: [12, 16, 16, 8] }
    }

    /// The event, with the end of the line.
    pub(super) fn line(&mut self, line: &Line<'_>) -> String {
        let Notification { trace_id, event } = line.notification;
        let mut id = trace_id.to_string();
        if !self.full_ids {
            id.truncate(SHORT_ID);
        }
        let plain = Style::new();
        let dimmed = Style::new().effects(Effects::DIMMED);
        let kind = event.event_type.kind();
        let columns = [
            (line.flow.map_or("-", FlowId::as_str), plain),
            (kind.name(), if event.is_error() { of_errors() } else { of_kind(kind) }),
            (&event.actor_id, Style::new().effects(Effects::BOLD)),
            (event.data.port.as_deref().unwrap_or(""), plain),
        ];
        let mut text = String::new();
        self.add(&mut text, &display_time(event.timestamp), 0, dimmed);
        self.add(&mut text, &id, 0, dimmed);
        for (place, (column, style)) in columns.into_iter().enumerate() {
            let column = printable(column);
            let width = &mut self.widths[place];
            *width = column.chars().count().clamp(*width, WIDEST);
            let width = *width;
            self.add(&mut text, &column, width, style);
        }
        let details = detail(event);
        self.add(&mut text, &printable(&details), 0, if event.is_error() { of_errors() } else { plain });
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    /// Adds a column and the space after it.
    fn add(&self, text: &mut String, column: &str, width: usize, style: Style) {
        let padding = width.saturating_sub(column.chars().count()) + 2;
        if self.is_coloured && style != Style::new() && !column.is_empty() {
            write!(text, "{style}{column}{style:#}").expect("a string takes all text");
        } else {
            text.push_str(column);
        }
        text.extend(std::iter::repeat_n(' ', padding));
    }
}

fn of_errors() -> Style {
    AnsiColor::Red.on_default().effects(Effects::BOLD)
}

fn of_kind(kind: TraceEventKind) -> Style {
    use TraceEventKind as Kind;
    match kind {
        Kind::ActorFailed => of_errors(),
        Kind::ActorCreated | Kind::ActorStarted | Kind::ActorCompleted => AnsiColor::Green.on_default(),
        Kind::MessageSent | Kind::MessageReceived | Kind::DataFlow => AnsiColor::Cyan.on_default(),
        Kind::StateChanged => AnsiColor::Yellow.on_default(),
        Kind::PortConnected | Kind::PortDisconnected | Kind::NetworkEvent => AnsiColor::Blue.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflow_tracing::{MessageSnapshot, TraceEvent, TraceEventData, TraceEventType};

    fn notification() -> Notification {
        let message = MessageSnapshot { message_type: "Order".into(), size_bytes: 7, ..Default::default() };
        let event = TraceEvent {
            timestamp: "2026-11-28T09:00:00.5Z".parse().unwrap(),
            event_type: TraceEventType::DataFlow { to_actor: "b".into(), to_port: "In".into() },
            actor_id: "a\u{1b}[31m\u{202e}".into(),
            data: TraceEventData {
                port: Some("Out".into()),
                message: Some(message),
                error: Some("disk\nfull".into()),
                ..Default::default()
            },
            ..Default::default()
        };
        Notification { trace_id: "64749864-655c-45d0-b056-02f3ad0653fc".parse().unwrap(), event }
    }

    fn line(is_coloured: bool, full_ids: bool) -> String {
        let flow = FlowId::new("orders\u{9b}1m");
        Lines::new(is_coloured, full_ids).line(&Line { notification: &notification(), flow: Some(&flow) })
    }

    #[test]
    fn an_event_is_one_line_that_cannot_control_the_terminal() {
        let expected = "2026-11-28T09:00:00.500Z  64749864  orders\\u{9b}1m  DataFlow          \
                        a\\u{1b}[31m\\u{202e}  Out       to b.In; Order, 7 bytes; error: disk\\nfull\n";
        assert_eq!(line(false, false), expected);
        assert!(line(false, true).contains("  64749864-655c-45d0-b056-02f3ad0653fc  "));
    }

    #[test]
    fn colours_change_nothing_else() {
        let coloured = line(true, false);
        assert!(coloured.contains("\u{1b}[1m\u{1b}[31mDataFlow\u{1b}[0m"), "{coloured:?}");
        // Without the sequences, which begin with ESC and end with m, the same is left.
        let mut plain = String::new();
        for (index, part) in coloured.split('\u{1b}').enumerate() {
            plain += if index == 0 { part } else { part.split_once('m').unwrap().1 };
        }
        assert_eq!(plain, line(false, false));
    }

    #[test]
    fn columns_grow_and_stay_aligned() {
        let mut lines = Lines::new(false, false);
        let place = |text: &str| text.find("DataFlow").unwrap();
        let of_flow = |lines: &mut Lines, flow: &str| {
            lines.line(&Line { notification: &notification(), flow: Some(&FlowId::new(flow)) })
        };
        assert_eq!(place(&of_flow(&mut lines, "f")) + 8, place(&of_flow(&mut lines, &"f".repeat(20))));
        assert_eq!(place(&of_flow(&mut lines, "f")), place(&of_flow(&mut lines, &"g".repeat(20))));
        of_flow(&mut lines, &"f".repeat(1_000));
        assert!(of_flow(&mut lines, "f").len() < 200);
    }
}
