/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "slimpipe/arena.h"
#include "slimpipe/file.h"

static char folder[64], path[128];

static void make_folder(void)
{
    strcpy(folder, "/tmp/test_file_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/target", folder);
}

/* Fails when anything but the target is left. */
static void remove_folder(void)
{
    unlink(path);
    cr_expect_eq(rmdir(folder), 0, "something is left in %s", folder);
}

static void write_text(const char *text)
{
    struct sp_file file;
    cr_assert_eq(sp_file_create(path, &file, NULL), SP_OK);
    fputs(text, file.stream);
    cr_assert_eq(sp_file_commit(&file, NULL), SP_OK);
}

static void expect_text(const char *expected)
{
    char *text;
    size_t size;
    struct sp_error error;
    cr_assert_eq(sp_file_read(path, 100, &text, &size, &error), SP_OK, "%s", error.message);
    cr_expect_eq(size, strlen(expected));
    cr_expect_str_eq(text, expected);
    sp_free(text);
}

TestSuite(file, .init = make_folder, .fini = remove_folder);

Test(file, commit_makes_the_target)
{
    struct sp_file file;
    write_text("one\n");
    expect_text("one\n");
    cr_assert_eq(sp_file_create(path, &file, NULL), SP_OK);
    fputs("two\n", file.stream);
    fflush(file.stream);
    expect_text("one\n"); /* until the commit */
    cr_assert_eq(sp_file_commit(&file, NULL), SP_OK);
    expect_text("two\n");
    sp_file_discard(&file);
    expect_text("two\n");
}

Test(file, new_files_have_the_usual_mode)
{
    struct stat status;
    mode_t mask = umask(027);
    write_text("one\n");
    umask(mask);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0640);
}

Test(file, discard_leaves_the_target)
{
    struct sp_file file, zero = {0};
    write_text("one\n");
    cr_assert_eq(sp_file_create(path, &file, NULL), SP_OK);
    fputs("half of tw", file.stream);
    sp_file_discard(&file);
    sp_file_discard(&file);
    sp_file_discard(&zero);
    expect_text("one\n");
}

Test(file, two_writers_do_not_meet)
{
    struct sp_file first, second;
    cr_assert_eq(sp_file_create(path, &first, NULL), SP_OK);
    cr_assert_eq(sp_file_create(path, &second, NULL), SP_OK);
    fputs("first\n", first.stream);
    fputs("second\n", second.stream);
    cr_assert_eq(sp_file_commit(&second, NULL), SP_OK);
    cr_assert_eq(sp_file_commit(&first, NULL), SP_OK);
    expect_text("first\n");
}

Test(file, a_link_stays_a_link)
{
    char link[160];
    struct stat status;
    snprintf(link, sizeof link, "%s/link", folder);
    write_text("one\n");
    cr_assert_eq(symlink(path, link), 0);
    struct sp_file file;
    cr_assert_eq(sp_file_create(link, &file, NULL), SP_OK);
    fputs("two\n", file.stream);
    cr_assert_eq(sp_file_commit(&file, NULL), SP_OK);
    expect_text("two\n");
    cr_assert_eq(lstat(link, &status), 0);
    cr_expect(S_ISLNK(status.st_mode));
    unlink(link);
}

Test(file, devices_are_written_in_place)
{
    struct sp_file file;
    struct sp_error error;
    struct stat status;
    cr_assert_eq(sp_file_create("/dev/null", &file, &error), SP_OK);
    cr_assert_eq(sp_file_commit(&file, &error), SP_OK);
    cr_assert_eq(stat("/dev/null", &status), 0);
    cr_expect(S_ISCHR(status.st_mode));
    cr_assert_eq(sp_file_create("/dev/full", &file, &error), SP_OK);
    fputs("lost", file.stream);
    cr_assert_eq(sp_file_commit(&file, &error), SP_IO);
    cr_expect_str_eq(error.message, "cannot write: No space left on device");
}

Test(file, errors_name_the_path)
{
    struct sp_file file;
    struct sp_error error;
    char *text = NULL;
    size_t size, limit = 3;
    cr_assert_eq(sp_file_create("/nowhere/plan.json", &file, &error), SP_IO);
    cr_expect_str_eq(error.source, "/nowhere/plan.json");
    cr_expect_str_eq(error.message, "cannot create: No such file or directory");
    cr_assert_eq(sp_file_read(folder, 100, &text, &size, &error), SP_IO);
    cr_expect_str_eq(error.message, "cannot read: Is a directory");
    write_text("one\n");
    cr_assert_eq(sp_file_read(path, limit, &text, &size, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "larger than the 3 bytes that are read at most");
    cr_expect_null(text);
    cr_assert_eq(sp_file_read(path, limit + 1, &text, &size, &error), SP_OK);
    sp_free(text);
}

Test(file, failing_allocations_leave_nothing)
{
    struct sp_file file;
    enum sp_status status = SP_MEMORY;
    for (int64_t n = 0; status != SP_OK; n++) {
        sp_alloc_fail_after(n);
        status = sp_file_create(path, &file, NULL);
        sp_alloc_fail_after(-1);
        cr_assert(status == SP_OK || status == SP_MEMORY);
    }
    sp_file_discard(&file);
}

/* A pipe has no size to go by: the buffer grows. */
Test(file, streams_of_unknown_length_are_read)
{
    char *text;
    size_t size;
    FILE *writer = fopen(path, "w");
    cr_assert_not_null(writer);
    for (int i = 0; i < 50000; i++)
        fprintf(writer, "%06d\n", i);
    fclose(writer);
    char command[200];
    snprintf(command, sizeof command, "cat %s", path);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    cr_assert_eq(dup2(fileno(pipe), STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(sp_file_read("-", 1 << 20, &text, &size, NULL), SP_OK);
    pclose(pipe);
    cr_expect_eq(size, 350000);
    cr_expect_str_eq(text + size - 7, "049999\n");
    sp_free(text);
}
