//! Converts a server's replies to the types of the contract.

use redis::{ServerError, Value};

use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::redis::{RedisError, Reply};
use crate::contract::body::DecodeError;
use crate::contract::budget::Budget;

/// Flattens replies: an array becomes its length, followed by its elements.
pub(super) fn flatten(values: Vec<Value>) -> Result<Vec<Reply>, RedisError> {
    let mut replies = Vec::with_capacity(values.len());
    values.into_iter().try_for_each(|value| push(value, &mut replies))?;
    Ok(replies)
}

fn push(value: Value, replies: &mut Vec<Reply>) -> Result<(), RedisError> {
    replies.push(match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Integer(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::Okay => Reply::Status("OK".into()),
        Value::SimpleString(text) => Reply::Status(text),
        Value::ServerError(error) => Reply::Failed(message(&error)),
        Value::Array(elements) => {
            let length = u32::try_from(elements.len()).map_err(|_| too_long())?;
            replies.push(Reply::Array(length));
            return elements.into_iter().try_for_each(|element| push(element, replies));
        }
        // Types of RESP3, which was not requested.
        other => return Err(RedisError::Other(format!("the server violated the protocol (RESP2): {other:?}"))),
    });
    Ok(())
}

fn too_long() -> RedisError {
    RedisError::LimitExceeded("the reply has an array of more than 4294967295 elements".into())
}

/// The server's message, starting with its code.
fn message(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

/// The error, if the answer is one.
pub(super) fn refusal(value: &Value) -> Option<RedisError> {
    match value {
        Value::ServerError(error) => Some(RedisError::Server(message(error))),
        _ => None,
    }
}

/// The first error among answers.
pub(super) fn first_refusal(values: &[Value]) -> Option<RedisError> {
    values.iter().find_map(refusal)
}

/// The events whose bodies are in the answers.
pub(super) fn events(values: &[Value], budget: Budget) -> Result<EventBatch, RedisError> {
    let mut bodies = Vec::new();
    values.iter().try_for_each(|value| collect(value, &mut bodies))?;
    EventBatch::from_bodies(bodies, budget).map_err(|error| match error {
        DecodeError::TooLarge { .. } => RedisError::LimitExceeded(error.to_string()),
        error => RedisError::Other(error.to_string()),
    })
}

fn collect<'a>(value: &'a Value, bodies: &mut Vec<&'a [u8]>) -> Result<(), RedisError> {
    match value {
        Value::Nil => Ok(()),
        Value::BulkString(body) => {
            bodies.push(body);
            Ok(())
        }
        Value::Array(elements) => elements.iter().try_for_each(|element| collect(element, bodies)),
        Value::ServerError(error) => Err(RedisError::Server(message(error))),
        other => Err(RedisError::Other(format!("the answer is not the body of an event: {other:?}"))),
    }
}
