/* timeout_fallback.c - an answer in time, if need be another one.
 *
 * A timeout is a scope around any number of waits. Past its deadline they
 * return -ECANCELED, the function gives up by returning that, and the end of
 * the scope turns it into -ETIMEDOUT: only the owner of the timeout has to
 * know of it. Scopes nest, and a shorter one inside leaves the longer one
 * alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

struct source {
    const char *name;
    kolk_time delay;
    int price;
};

static int
source_ask(const struct source *source)
{
    int err = kolk_sleep(source->delay);
    return err < 0 ? err : source->price;
}

/* The price from `source`, or an error after 50 ms. */
static int
source_ask_briefly(const struct source *source)
{
    KOLK_TIMEOUT(timeout, KOLK_MS(50));
    int price = source_ask(source);
    return kolk_timeout_end(&timeout, price);
}

static int
price_find(const struct source *first, const struct source *second)
{
    int price = source_ask_briefly(first);
    if (price == -ETIMEDOUT) {
        (void)printf("%s: %s, so ", first->name, kolk_error_name(price));
        price = source_ask_briefly(second);
        first = second;
    }
    if (price >= 0) {
        (void)printf("%s: %d\n", first->name, price);
    }
    return price;
}

static int
prices_find(void *arg)
{
    static const struct source market = {"market", KOLK_S(3600), 120};
    static const struct source cache = {"cache", 0, 118};
    static const struct source broker = {"broker", KOLK_MS(1), 119};
    (void)arg;

    KOLK_TIMEOUT(all, KOLK_S(20));
    int price = price_find(&broker, &cache);
    if (price >= 0) {
        price = price_find(&market, &cache);
    }
    return kolk_timeout_end(&all, price);
}

int
main(void)
{
    int err = kolk_run(prices_find, NULL);
    if (err < 0) {
        (void)fprintf(stderr, "no price: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
