#include <sqlite3.h>

/// sqlite3_config takes any number of arguments in C, which Swift cannot call.
///
/// SQLite no longer keeps count of the memory it uses, which costs a lock of the whole process at each piece. Before the first
/// connection.
static inline int ecard_sqlite_keep_no_count(void) {
    return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}
