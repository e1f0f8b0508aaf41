/* net_address.c - addresses: what is written is what is read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include <kolk/address.h>

#include "base/sys.h"

static kolk_address
parse(const char *host, uint16_t port)
{
    kolk_address address = {0};

    CHECK_OK(kolk_address_parse(host, port, &address));
    return address;
}

static const char *
format(const kolk_address *address)
{
    static char text[KOLK_ADDRESS_TEXT_MAX];

    return kolk_address_format(address, text, sizeof text);
}

static kolk_address
unix_address(const char *path, size_t size)
{
    kolk_address address = {0};

    CHECK_OK(kolk_address_unix(path, size, &address));
    return address;
}

TEST_ONCE(what_is_written_is_parsed_and_written_again)
{
    static const struct {
        const char *host;
        const char *text;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:80"},
        {"255.255.255.255", "255.255.255.255:80"},
        {"::", "[::]:80"},
        {"::1", "[::1]:80"},
        {"2001:DB8::0:1", "[2001:db8::1]:80"},
        {"::ffff:1.2.3.4", "[::ffff:1.2.3.4]:80"},
        {"fe80::1%4294967295", "[fe80::1%4294967295]:80"},
        {"fe80::1%0", "[fe80::1]:80"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kolk_address address = parse(rows[i].host, 80);

        CHECK_STR(format(&address), rows[i].text);
        CHECK_INT(kolk_address_port(&address), 80);
    }
}

TEST_ONCE(what_is_no_address_is_refused)
{
    static const char *const hosts[] = {
        "",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "0x7f.1",
        "::g",
        "[::1]",
        ":",
        "1::2::3",
        "127.0.0.1%lo",
        " ::1",
        "::1 ",
        "1.2.3.4 ",
        "%lo",
        "::1::%lo",
        "1.2.3.4:80",
        "01.2.3.4",
        "0::0:0:0:0:0:0:0:0",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "fe80::1%an_interface_whose_name_is_longer_than_any_can_be_in_linux"};
    kolk_address address = {.size = 77};

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        CHECK_ERR(kolk_address_parse(hosts[i], 1, &address), -EINVAL);
    }
    CHECK_INT(address.size, 77);
}

TEST_ONCE(a_zone_is_an_interface_or_a_number)
{
    char name[IF_NAMESIZE];
    unsigned index = if_nametoindex("lo");
    kolk_address address = parse("fe80::1%lo", 443);
    struct sockaddr_in6 in6;

    memcpy(&in6, &address.storage, sizeof in6);
    CHECK(index != 0);
    CHECK_INT(in6.sin6_scope_id, index);
    CHECK_PTR(if_indextoname(index, name), name);
    CHECK_STR(format(&address), "[fe80::1%lo]:443");

    CHECK_ERR(kolk_address_parse("fe80::1%nonesuch", 1, &address), -ENODEV);
    CHECK_ERR(kolk_address_parse("fe80::1%", 1, &address), -ENODEV);
    CHECK_ERR(kolk_address_parse("fe80::1%4294967296", 1, &address), -ENODEV);
    CHECK_ERR(kolk_address_parse("fe80::1%99999999999999999999", 1, &address),
              -ENODEV);
    address = parse("fe80::1%7", 443);
    memcpy(&in6, &address.storage, sizeof in6);
    CHECK_INT(in6.sin6_scope_id, 7);
}

static unsigned
no_descriptor(const char *name)
{
    (void)name;
    errno = EMFILE;
    return 0;
}

TEST_ONCE(a_zone_that_cannot_be_looked_up_says_why)
{
    kolk_address address;

    kolk__sys.if_nametoindex = no_descriptor;
    CHECK_ERR(kolk_address_parse("fe80::1%lo", 1, &address), -EMFILE);
}

TEST_ONCE(unix_paths_and_abstract_names_are_told_apart)
{
    kolk_address address = unix_address("/tmp/a", 6);
    const struct sockaddr_un *un = (struct sockaddr_un *)&address.storage;

    CHECK_STR(un->sun_path, "/tmp/a");
    CHECK_INT(address.size, offsetof(struct sockaddr_un, sun_path) + 7);
    CHECK_STR(format(&address), "/tmp/a");
    CHECK_INT(kolk_address_port(&address), 0);

    address = unix_address("\0a\0b", 4);
    CHECK_INT(address.size, offsetof(struct sockaddr_un, sun_path) + 4);
    CHECK_STR(format(&address), "@a@b");
    address = unix_address("\0", 1);
    CHECK_STR(format(&address), "@");

    CHECK_ERR(kolk_address_unix("", 0, &address), -EINVAL);
    CHECK_ERR(kolk_address_unix("a\0b", 3, &address), -EINVAL);
    CHECK_ERR(kolk_address_unix("ab\0", 3, &address), -EINVAL);
}

TEST_ONCE(unix_addresses_have_a_longest_size)
{
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path + 1];
    kolk_address address;

    memset(path, 'x', sizeof path);
    address = unix_address(path, sizeof path - 2);
    CHECK_INT(strlen(format(&address)), sizeof path - 2);
    CHECK_ERR(kolk_address_unix(path, sizeof path - 1, &address),
              -ENAMETOOLONG);
    path[0] = '\0';
    address = unix_address(path, sizeof path - 1);
    CHECK_INT(strlen(format(&address)), sizeof path - 1);
    CHECK_ERR(kolk_address_unix(path, sizeof path, &address), -ENAMETOOLONG);
}

TEST_ONCE(what_a_system_call_writes_is_copied)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const struct sockaddr *in_p = (const struct sockaddr *)&in;
    const struct sockaddr *un_p = (const struct sockaddr *)&un;
    char large[sizeof(struct sockaddr_storage) + 1] = "";
    kolk_address address = {.size = 77};

    CHECK_ERR(kolk_address_copy(in_p, 0, &address), -EINVAL);
    CHECK_ERR(kolk_address_copy(in_p, 1, &address), -EINVAL);
    CHECK_ERR(kolk_address_copy(in_p, sizeof in - 1, &address), -EINVAL);
    CHECK_ERR(
        kolk_address_copy((struct sockaddr *)large, sizeof large, &address),
        -EINVAL);
    CHECK_INT(address.size, 77);
    in.sin_family = AF_INET6;
    CHECK_ERR(kolk_address_copy(in_p, sizeof in, &address), -EINVAL);
    in.sin_family = AF_INET;
    CHECK_OK(kolk_address_copy(in_p, sizeof in, &address));
    CHECK_STR(format(&address), "0.0.0.0:9");

    CHECK_OK(kolk_address_copy(un_p, sizeof un.sun_family, &address));
    CHECK_STR(format(&address), "unnamed");
    un.sun_family = AF_PACKET;
    CHECK_OK(kolk_address_copy(un_p, sizeof un.sun_family, &address));
    CHECK_STR(format(&address), "family 17");
    address = (kolk_address){0};
    CHECK_STR(format(&address), "none");
    CHECK_INT(kolk_address_port(&address), 0);
}

TEST_ONCE(the_text_is_cut_to_its_buffer)
{
    kolk_address address = parse("127.0.0.1", 65535);
    char text[8] = "xxxxxxx";

    CHECK_PTR(kolk_address_format(&address, text, 5), text);
    CHECK_STR(text, "127.");
    CHECK_PTR(kolk_address_format(&address, text, 1), text);
    CHECK_STR(text, "");
    text[0] = 'y';
    CHECK_PTR(kolk_address_format(&address, text, 0), text);
    CHECK_INT(text[0], 'y');
}

TEST_ONCE(addresses_are_equal_if_they_mean_the_same)
{
    const kolk_address rows[] = {
        {0},
        parse("127.0.0.1", 80),
        parse("127.0.0.1", 81),
        parse("127.0.0.2", 80),
        parse("::ffff:127.0.0.1", 80),
        parse("fe80::1", 80),
        parse("fe80::1%1", 80),
        parse("fe80::1", 81),
        unix_address("a", 1),
        unix_address("ab", 2),
        unix_address("\0a", 2),
        unix_address("\0a\0", 3),
        {.size = sizeof(sa_family_t), .storage = {.ss_family = AF_UNIX}},
        {.size = sizeof(sa_family_t), .storage = {.ss_family = AF_PACKET}},
    };
    const size_t count = sizeof rows / sizeof *rows;

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            CHECK_INT(kolk_address_equal(&rows[i], &rows[j]), i == j);
        }
    }
}

/* The kernel counts the '\0' of a path where it writes it. */
TEST_ONCE(a_path_is_the_same_with_its_zero_and_without)
{
    kolk_address a = unix_address("/run/x", 6), b = a;

    b.size--;
    CHECK(kolk_address_equal(&a, &b));
    CHECK_STR(format(&b), "/run/x");
}
