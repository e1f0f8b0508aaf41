/* tls_context.c - what a context takes, and what it refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_pair.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What making a context with `options` comes to; none is left. */
static int
try_options(const kolk_tls_options *options)
{
    kolk_tls_context *context;
    int err = kolk_tls_context_new(options, &context);

    if (err == 0) {
        kolk_tls_context_unref(context);
    } else {
        CHECK(strlen(kolk_tls_last_error()) > 0);
    }
    CHECK(tls_queue_is_clean());
    return err;
}

/* The same of a server with these files. */
static int
try_files(const char *certificate, const char *key, const char *password)
{
    const kolk_tls_options options = {.is_server = true,
                                      .certificate = certificate,
                                      .key = key,
                                      .password = password};

    return try_options(&options);
}

TEST_ONCE(a_client_needs_nothing)
{
    static const kolk_tls_options empty;

    CHECK_OK(try_options(NULL));
    CHECK_OK(try_options(&empty));
    kolk_tls_context_unref(NULL);
}

TEST_ONCE(a_server_needs_a_certificate)
{
    const test_cert *cert = tls_leaf();

    CHECK_ERR(try_files(NULL, NULL, NULL), -EINVAL);
    CHECK_OK(try_files(cert->chain_path, cert->key_path, NULL));
    CHECK_ERR(try_options(&(kolk_tls_options){.key = cert->key_path}), -EINVAL);
}

TEST_ONCE(a_file_that_cannot_be_read_is_an_error_of_its_own)
{
    const test_cert *cert = tls_leaf();

    CHECK_ERR(try_files("/nowhere/at/all", NULL, NULL), -ENOENT);
    CHECK_STR(kolk_tls_last_error(), "/nowhere/at/all: no such file");
    CHECK_ERR(try_files("/", NULL, NULL), -EISDIR);
    CHECK_ERR(try_files(cert->chain_path, "/nowhere", NULL), -ENOENT);
    CHECK_ERR(try_options(&(kolk_tls_options){.ca_file = "/nowhere"}), -ENOENT);
    CHECK_ERR(try_options(&(kolk_tls_options){.ca_folder = "/nowhere"}),
              -ENOENT);
    CHECK_ERR(try_options(&(kolk_tls_options){.ca_folder = cert->chain_path}),
              -ENOTDIR);
}

TEST_ONCE(files_without_what_they_should_have_are_refused)
{
    static const char text[] = "-----BEGIN CERTIFICATE-----\nxx\n";
    const test_cert *cert = tls_leaf();
    char path[64];

    test_file_new(text, sizeof text - 1, path);
    CHECK_ERR(try_files(path, cert->key_path, NULL), -KOLK_ETLS);
    CHECK_ERR(try_options(&(kolk_tls_options){.ca_file = path}), -KOLK_ETLS);
    test_file_new("", 0, path);
    CHECK_ERR(try_files(path, cert->key_path, NULL), -KOLK_ETLS);
    CHECK_ERR(try_options(&(kolk_tls_options){.ca_file = path}), -KOLK_ETLS);
    CHECK(strstr(kolk_tls_last_error(), "no start line") != NULL);
    CHECK_ERR(try_files(cert->chain_path, path, NULL), -KOLK_ETLS);
    CHECK_ERR(try_files(cert->chain_path, NULL, NULL), -KOLK_ETLS);
}

TEST_ONCE(a_key_of_another_certificate_is_refused)
{
    CHECK_ERR(try_files(tls_leaf()->chain_path, tls_root()->key_path, NULL),
              -KOLK_ETLS);
    CHECK(strstr(kolk_tls_last_error(), "key values mismatch") != NULL);
}

TEST_ONCE(a_certificate_and_its_key_may_share_a_file)
{
    char both[8192], path[64];
    const test_cert *cert = tls_leaf();
    size_t size = 0;

    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(i == 0 ? cert->key_path : cert->chain_path, "r");

        CHECK(file != NULL);
        size += fread(both + size, 1, sizeof both - size, file);
        (void)fclose(file);
    }
    test_file_new(both, size, path);
    CHECK_OK(try_files(path, NULL, NULL));
}

/* Nobody is asked on the terminal. */
TEST_ONCE(a_key_may_have_a_password)
{
    const test_cert *cert = tls_leaf();
    char path[64];

    test_key_encrypt(cert, "sesame", path);
    CHECK_OK(try_files(cert->chain_path, path, "sesame"));
    CHECK_ERR(try_files(cert->chain_path, path, "barley"), -KOLK_ETLS);
    CHECK_ERR(try_files(cert->chain_path, path, NULL), -KOLK_ETLS);
    CHECK_ERR(try_files(cert->chain_path, path, ""), -KOLK_ETLS);
}

TEST_ONCE(versions_have_to_make_sense)
{
    static const struct {
        int min, max, result;
    } tries[] = {
        {KOLK_TLS_1_2, KOLK_TLS_1_3, 0},
        {KOLK_TLS_1_3, KOLK_TLS_1_3, 0},
        {0, KOLK_TLS_1_2, 0},
        {KOLK_TLS_1_3, KOLK_TLS_1_2, -EINVAL},
        {0x0301, 0, -EINVAL}, /* TLS 1.0 */
        {0, 0x0302, -EINVAL},
        {1, 0, -EINVAL},
    };

    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        const kolk_tls_options options = {.min_version = tries[i].min,
                                          .max_version = tries[i].max};

        CHECK_ERR(try_options(&options), tries[i].result);
    }
}

TEST_ONCE(ciphers_that_nobody_knows_are_refused)
{
    CHECK_OK(try_options(&(kolk_tls_options){.ciphers = "HIGH:!aNULL"}));
    CHECK_OK(try_options(&(kolk_tls_options){
        .ciphers = "TLS_AES_128_GCM_SHA256::ECDHE-RSA-AES128-GCM-SHA256:"}));
    CHECK_ERR(try_options(&(kolk_tls_options){.ciphers = "NONSENSE"}),
              -KOLK_ETLS);
    CHECK_ERR(try_options(&(kolk_tls_options){.ciphers = "TLS_NONSENSE"}),
              -KOLK_ETLS);
}

TEST_ONCE(names_of_protocols_have_1_to_255_bytes)
{
    char name[257];
    const char *const names[] = {"h2", name, NULL};
    const kolk_tls_options options = {.alpn = names};

    memset(name, 'x', sizeof name);
    name[256] = '\0';
    CHECK_ERR(try_options(&options), -EINVAL);
    name[255] = '\0';
    CHECK_OK(try_options(&options));
    name[0] = '\0';
    CHECK_ERR(try_options(&options), -EINVAL);
}

TEST_ONCE(only_a_server_has_certificates_for_names)
{
    const test_cert *cert = tls_leaf();
    const char *chain = cert->chain_path, *key = cert->key_path;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    kolk_tls_context *server = pair->contexts[TLS_SERVER];
    CHECK_ERR(kolk_tls_context_add_certificate(pair->contexts[TLS_CLIENT], "x",
                                               chain, key),
              -EINVAL);
    CHECK_ERR(kolk_tls_context_add_certificate(server, "", chain, key),
              -EINVAL);
    CHECK_ERR(kolk_tls_context_add_certificate(server, "x", "/nowhere", key),
              -ENOENT);
    CHECK_OK(kolk_tls_context_add_certificate(server, "x", chain, key));
}

/* ---- a folder of certificates ---- */

static char folder[] = "/tmp/kolk-tls-XXXXXX";
static char folder_file[64];

static void
folder_remove(void *unused)
{
    (void)unused;
    (void)unlink(folder_file);
    (void)rmdir(folder);
}

TEST_ONCE(a_folder_of_certificates_is_trusted)
{

    CHECK(mkdtemp(folder) != NULL);
    test_later(folder_remove, NULL);
    (void)snprintf(folder_file, sizeof folder_file, "%s/%08lx.0", folder,
                   X509_subject_name_hash(tls_root()->x509));
    test_cert_write(tls_root(), folder_file);
    tls_pair *pair =
        tls_pair_new(&(kolk_tls_options){.ca_folder = folder}, NULL);
    tls_pair_open(pair, "example.org");
}

/* ---- life ---- */

TEST_ONCE(an_engine_keeps_its_context)
{
    int results[2];

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_connect(pair, "example.org");
    for (int i = 0; i < 2; i++) {
        kolk_tls_context_unref(pair->contexts[i]);
        pair->contexts[i] = NULL;
    }
    tls_pair_shake(pair, results);
    CHECK_OK(results[TLS_CLIENT]);
    CHECK_OK(results[TLS_SERVER]);
}

/* A client and a server of the two contexts shake hands, again and again. */
struct thread {
    pthread_t thread;
    tls_pair pair;
    int errors;
};

static void *
thread_run(void *arg)
{
    struct thread *self = arg;

    for (size_t i = 0; i < 20; i++) {
        int results[2];

        for (int end = 0; end < 2; end++) {
            self->errors +=
                kolk_tls_engine_new(self->pair.contexts[end], "example.org",
                                    &self->pair.ends[end])
                < 0;
        }
        if (self->errors > 0) {
            break;
        }
        tls_pair_shake(&self->pair, results);
        self->errors += results[0] < 0 || results[1] < 0;
        tls_pair_disconnect(&self->pair);
    }
    tls_pair_disconnect(&self->pair);
    kolk_tls_context_unref(self->pair.contexts[TLS_CLIENT]);
    kolk_tls_context_unref(self->pair.contexts[TLS_SERVER]);
    return NULL;
}

TEST_TIME(threads_share_a_context)
{
    enum { THREADS = 4 };
    static struct thread threads[THREADS];

    tls_pair *pair = tls_pair_new(NULL, NULL);
    for (int i = 0; i < THREADS; i++) {
        for (int end = 0; end < 2; end++) {
            threads[i].pair.contexts[end] =
                kolk_tls_context_ref(pair->contexts[end]);
        }
        CHECK_INT(
            pthread_create(&threads[i].thread, NULL, thread_run, &threads[i]),
            0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(threads[i].thread, NULL), 0);
        CHECK_INT(threads[i].errors, 0);
    }
}
