//! Checks that the pages of a plugin lead to an end: each is in order and goes beyond the one before.

use super::bindings::reflow::storage::types::PageRequest;

/// The longest token, in bytes. The host keeps it, and hands it to clients.
const MAX_TOKEN: usize = 16 * 1024;

/// How far the pages of a listing got.
#[derive(Debug)]
pub(crate) struct Pages<K> {
    /// The key of the last item.
    last: Option<K>,
}

impl<K: Ord> Pages<K> {
    /// At the start of a listing, or where a client continues one.
    pub(crate) fn new() -> Self {
        Self { last: None }
    }

    /// Checks the answer to `request`, whose items are called `what`. Drops items that an earlier page had: a plugin whose
    /// tokens count items returns some again when others were stored meanwhile.
    ///
    /// The error says how the plugin broke the contract.
    pub(crate) fn check<T>(
        &mut self,
        what: &str,
        request: &PageRequest,
        items: &mut Vec<T>,
        next: Option<&[u8]>,
        key: impl Fn(&T) -> K,
    ) -> Result<(), String> {
        check_count(what, request, items.len())?;
        if let Some(at) = items.array_windows().position(|[one, other]| key(one) >= key(other)) {
            return Err(format!(
                "its {what} are not in order: number {} of a page does not come after number {at}",
                at + 1
            ));
        }
        if let Some(last) = &self.last {
            items.retain(|item| key(item) > *last);
        }
        if let Some(token) = next {
            if token.len() > MAX_TOKEN {
                return Err(format!("its page token has {} bytes; the maximum is {MAX_TOKEN}", token.len()));
            }
            if request.token.as_deref() == Some(token) {
                return Err("its token for the next page is the token of the page itself".into());
            }
            if items.is_empty() {
                return Err(format!("it returned a page without further {what}, with a token for another page"));
            }
        }
        if let Some(item) = items.last() {
            self.last = Some(key(item));
        }
        Ok(())
    }
}

/// Checks the number of items in the answer to `request`.
pub(crate) fn check_count(what: &str, request: &PageRequest, count: usize) -> Result<(), String> {
    let limit = request.limit as usize;
    if count > limit {
        return Err(format!("it returned {count} {what}, but {limit} were requested"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items of a page, and the token of the next.
    type Page<'a> = (&'a [u8], Option<&'a [u8]>);

    /// Checks the pages. Returns all items.
    fn checked(pages: &[Page<'_>]) -> Result<Vec<u8>, String> {
        let (mut listing, mut all, mut token) = (Pages::new(), Vec::new(), None);
        for (items, next) in pages {
            let (mut items, next) = (items.to_vec(), next.map(<[u8]>::to_vec));
            let request = PageRequest { limit: 3, offset: 0, token };
            listing.check("items", &request, &mut items, next.as_deref(), |item| *item)?;
            all.extend(items);
            token = next;
        }
        Ok(all)
    }

    #[test]
    fn pages_in_order_are_taken_and_repeated_items_dropped() {
        assert_eq!(checked(&[(&[1, 2, 3], Some(b"a")), (&[3, 4], Some(b"b")), (&[], None)]).unwrap(), [1, 2, 3, 4]);
        assert!(checked(&[(&[], None)]).unwrap().is_empty());
    }

    #[test]
    fn pages_that_lead_nowhere_are_errors() {
        let long = [0; MAX_TOKEN + 1];
        let cases: &[(&[Page<'_>], &str)] = &[
            (&[(&[1, 2, 3, 4], None)], "returned 4 items, but 3 were requested"),
            (&[(&[2, 1], None)], "not in order: number 1 of a page does not come after number 0"),
            (&[(&[1, 1], None)], "not in order"),
            (&[(&[], Some(b"a"))], "without further items"),
            (&[(&[1, 2], Some(b"a")), (&[1, 2], Some(b"b"))], "without further items"),
            (&[(&[1], Some(b"a")), (&[2], Some(b"a"))], "is the token of the page itself"),
            (&[(&[1], Some(&long))], "has 16385 bytes"),
        ];
        for (pages, problem) in cases {
            let error = checked(pages).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
