/* A loop with the work of one iteration of Dhrystone 2.1 (R. P. Weicker, "Dhrystone: a synthetic systems programming
 * benchmark", CACM 27(10), 1984, and its C version of 1988): records copied through pointers, two arrays, texts of 30
 * letters copied and compared, small functions that are not inlined. An estimate of cycles is calibrated on it. */
#include "board.h"

#include <string.h>

#define APART __attribute__((noinline, noclone))

enum choice { FIRST, SECOND, THIRD, FOURTH };

struct record {
    struct record *next;
    int variant;
    enum choice choice;
    int number;
    char text[31];
};

static struct record records[2], *head;
static int number, flag, row[50], table[50][50];
static char letter, other_letter;

static APART void sum(int a, int b, int *total)
{
    *total = a + 2 + b;
}

static APART int is_third(enum choice choice)
{
    return choice == THIRD;
}

static APART void choose(enum choice choice, enum choice *chosen)
{
    *chosen = is_third(choice) ? choice : FOURTH;
    switch (choice) {
    case FIRST:
        *chosen = FIRST;
        break;
    case SECOND:
        *chosen = number > 100 ? FIRST : FOURTH;
        break;
    case THIRD:
        *chosen = SECOND;
        break;
    case FOURTH:
        break;
    }
}

static APART void follow(struct record **next)
{
    if (head != NULL)
        *next = head->next;
    sum(10, number, &head->number);
}

static APART void copy_record(struct record *from)
{
    struct record *to = from->next;
    *to = *head;
    from->number = 5;
    to->number = from->number;
    to->next = from->next;
    follow(&to->next);
    if (to->variant == 0) {
        to->number = 6;
        choose(from->choice, &to->choice);
        to->next = head->next;
        sum(to->number, 10, &to->number);
    } else {
        *from = *to;
    }
}

static APART void count_down(int *value)
{
    int left = *value + 10, done = 0;
    do {
        if (letter == 'A') {
            --left;
            *value = left - number;
            done = 1;
        }
    } while (!done);
}

static APART void set_flag(void)
{
    flag = (letter == 'A') | flag;
    other_letter = 'B';
}

static APART void set_letter(void)
{
    letter = 'A';
    flag = 0;
}

static APART void fill(int *line, int (*square)[50], int place, int value)
{
    const int at = place + 5;
    line[at] = value;
    line[at + 1] = line[at];
    line[at + 30] = at;
    for (int column = at; column <= at + 1; ++column)
        square[at][column] = at;
    ++square[at][at - 1];
    square[at + 20][at] = line[at];
    number = 5;
}

static APART enum choice compare_letters(char a, char b)
{
    const char copy = a;
    if (copy != b)
        return FIRST;
    letter = copy;
    return SECOND;
}

static APART int is_greater(const char *a, const char *b)
{
    int at = 2;
    char seen = 0;
    while (at <= 2)
        if (compare_letters(a[at], b[at + 1]) == FIRST) {
            seen = 'A';
            ++at;
        }
    if (seen >= 'W' && seen < 'Z')
        at = 7;
    if (seen == 'R')
        return 1;
    if (strcmp(a, b) <= 0)
        return 0;
    number = at + 7;
    return 1;
}

static APART void calibrate(int iterations)
{
    char first[31], second[31];
    strcpy(first, "THIRTY LETTERS, THE FIRST TEXT");
    for (int iteration = 1; iteration <= iterations; ++iteration) {
        int a = 2, b = 3, c = 0;
        enum choice choice = SECOND;
        set_letter();
        set_flag();
        strcpy(second, "THIRTY LETTERS, THE OTHER TEXT");
        flag = !is_greater(first, second);
        while (a < b) {
            c = 5 * a - b;
            sum(a, b, &c);
            ++a;
        }
        fill(row, table, a, c);
        copy_record(head);
        for (char at = 'A'; at <= other_letter; ++at)
            if (choice == compare_letters(at, 'C')) {
                choose(FIRST, &choice);
                strcpy(second, "THIRTY LETTERS, THE THIRD TEXT");
                b = iteration;
                number = iteration;
            }
        b = b * a;
        a = b / c;
        b = 7 * (b - c) - a;
        count_down(&a);
    }
}

int main(void)
{
    head = &records[0];
    head->next = &records[1];
    head->choice = THIRD;
    head->number = 40;
    strcpy(head->text, "THIRTY LETTERS IN EVERY RECORD");
    table[8][7] = 10;
    calibrate(ITERATIONS);
    return 0;
}
