use std::time::Duration;

use super::*;

const MIB: usize = 1 << 20;

fn budget() -> Budget {
    Budget::new(64 * MIB)
}

#[test]
fn what_is_dropped_is_given_back() {
    let budget = budget();
    let account = budget.account().unwrap();
    assert_eq!(budget.held(), CONNECTION_BYTES);
    let mut share = account.try_take(10 * MIB).unwrap();
    share.merge(account.try_take(1).unwrap());
    assert_eq!((share.bytes(), account.held()), (10 * MIB + KIB, 10 * MIB + KIB + CONNECTION_BYTES));
    share.shrink_to(MIB);
    assert_eq!((share.bytes(), budget.held()), (MIB, MIB + CONNECTION_BYTES));
    drop(account);
    assert_eq!(budget.held(), MIB, "a share may outlive its connection");
    drop(share);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_small_connection_finds_room_when_a_greedy_one_has_taken_all_it_can() {
    let budget = budget();
    let (greedy, small) = (budget.account().unwrap(), budget.account().unwrap());
    let mut taken = Vec::new();
    while let Some(share) = greedy.try_take(100 * KIB) {
        taken.push(share);
    }
    assert!(small.try_take(200 * KIB).is_some());
    assert!(small.try_take(300 * KIB).is_none());
}

#[test]
fn what_stays_takes_half_at_most_whatever_messages_hold() {
    let budget = budget();
    let (account, other) = (budget.account().unwrap(), budget.account().unwrap());
    let message = account.try_take(20 * MIB).unwrap();
    let mut first = account.try_take_of_half(20 * MIB).unwrap();
    assert!(other.try_take_of_half(13 * MIB).is_none(), "half is 32 MiB");
    let second = other.try_take_of_half(12 * MIB).unwrap();
    first.shrink_to(10 * MIB);
    let third = other.try_take_of_half(3 * MIB).unwrap();
    assert!(other.try_take_of_half(8 * MIB).is_none());
    drop((message, first, second, third));
    assert_eq!(budget.held(), 2 * CONNECTION_BYTES);
    assert!(account.try_take_of_half(32 * MIB).is_some());
}

#[test]
fn a_connection_without_room_is_refused_and_counted() {
    let budget = Budget::new(10 * CONNECTION_BYTES);
    let accounts: Vec<_> = std::iter::from_fn(|| budget.account()).collect();
    assert!((8..=10).contains(&accounts.len()), "{}", accounts.len());
    assert_eq!(budget.refused().get(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_what_is_given_back() {
    let budget = budget();
    let (one, other) = (budget.account().unwrap(), budget.account().unwrap());
    let share = one.take(50 * MIB).await.unwrap();
    let waiting = tokio::spawn(other.take(50 * MIB));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    drop(share);
    assert_eq!(waiting.await.unwrap().unwrap().bytes(), 50 * MIB);
    assert_eq!((budget.waits().get(), budget.ended().get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_greediest_connection_is_ended_when_waiting_does_not_help() {
    let budget = budget();
    let accounts = [20, 30, 5].map(|mib| {
        let account = budget.account().unwrap();
        let share = account.try_take(mib * MIB).unwrap();
        let ended = account.ended();
        tokio::spawn(async move {
            ended.await;
            drop((account, share));
            mib
        })
    });
    let honest = budget.account().unwrap();
    let share = honest.take(10 * MIB).await.unwrap();
    let [_, ended, _] = accounts;
    assert_eq!(ended.await.unwrap(), 30);
    assert_eq!(budget.ended().get(), 1);
    drop(share);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_gives_back_goes_on_while_an_idle_one_is_ended() {
    let budget = budget();
    let (busy, idle) = (budget.account().unwrap(), budget.account().unwrap());
    let of_busy = busy.try_take(40 * MIB).unwrap();
    let of_idle = idle.try_take(15 * MIB).unwrap();
    let small: Vec<_> = (0..30).map(|_| busy.try_take(KIB).unwrap()).collect();
    let works = tokio::spawn(async move {
        for share in small {
            drop(share);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = tokio::spawn(budget.account().unwrap().take(10 * MIB));
    idle.ended().await;
    drop((idle, of_idle));
    waiting.await.unwrap().unwrap();
    works.await.unwrap();
    assert_eq!(budget.ended().get(), 1);
    drop((busy, of_busy));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_once_the_host_stops() {
    let budget = budget();
    let (one, other) = (budget.account().unwrap(), budget.account().unwrap());
    let _share = one.take(50 * MIB).await.unwrap();
    let waiting = tokio::spawn(other.take(50 * MIB));
    tokio::task::yield_now().await;
    budget.close();
    assert!(matches!(waiting.await.unwrap(), Err(UsedUp)));
}
