//! Work on parts of a whole by several threads, taken in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::EngineError;

/// How many parts beyond one for each thread may be ahead of the one that is taken: what is done and not yet taken is in
/// memory.
const PARTS_SPARE: usize = 1;

struct State<T> {
    next: usize,
    taken: usize,
    done: BTreeMap<usize, Result<T, EngineError>>,
    is_stopped: bool,
}

/// Works on `count` parts with `threads` threads and gives the results to `take`, on the calling thread and in order. At
/// most one part for each thread and one more are in work or wait to be taken. After an error no further part is begun.
///
/// # Errors
/// The first error in the order of the parts.
pub(super) fn in_order<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, EngineError> + Sync,
    mut take: impl FnMut(T) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let threads = threads.clamp(1, count.max(1));
    let ahead_max = if threads == 1 { 1 } else { threads + PARTS_SPARE };
    let state = Mutex::new(State { next: 0, taken: 0, done: BTreeMap::new(), is_stopped: false });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        // However this ends, the threads have to end with it.
        let _stop = StopOnDrop { state: &state, changed: &changed };
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let part = {
                        let mut guard = lock();
                        while !guard.is_stopped && guard.next < count && guard.next >= guard.taken + ahead_max {
                            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
                        }
                        if guard.is_stopped || guard.next >= count {
                            return;
                        }
                        guard.next += 1;
                        guard.next - 1
                    };
                    // A panic must not leave the taker waiting: it is given on as the result.
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(part)))
                        .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
                    lock().done.insert(part, result);
                    changed.notify_all();
                }
            });
        }
        for part in 0..count {
            let result = {
                let mut guard = lock();
                loop {
                    if let Some(result) = guard.done.remove(&part) {
                        break result;
                    }
                    guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
            };
            take(result?)?;
            lock().taken = part + 1;
            changed.notify_all();
        }
        Ok(())
    })
}

struct StopOnDrop<'a, T> {
    state: &'a Mutex<State<T>>,
    changed: &'a Condvar,
}

impl<T> Drop for StopOnDrop<'_, T> {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_stopped = true;
        self.changed.notify_all();
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> EngineError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    EngineError::Internal { action: "building", source: text.unwrap_or("a thread stopped").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_stops_the_work() {
        let mut taken = Vec::new();
        in_order(
            100,
            4,
            |part| Ok(part * 2),
            |value| {
                taken.push(value);
                Ok(())
            },
        )
        .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(taken, (0..100).map(|part| part * 2).collect::<Vec<_>>());
        let begun = std::sync::atomic::AtomicUsize::new(0);
        let work = |part| {
            begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if part == 5 { Err(EngineError::Cancelled) } else { Ok(part) }
        };
        assert!(matches!(in_order(1_000, 2, work, |_| Ok(())), Err(EngineError::Cancelled)));
        assert!(begun.into_inner() < 20);
        assert!(in_order(3, 2, |part| if part == 1 { panic!("broken") } else { Ok(part) }, |_| Ok(())).is_err());
        assert!(in_order(0, 2, |_| Ok(()), |()| Ok(())).is_ok());
    }
}
