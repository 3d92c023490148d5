/* Minimise (x - 3)^2 by gradient descent. phyletic starts this once for each trial; study.py gives the arguments.

   cc -o train train.c */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stop = 0;

static void ask_to_stop(int number) { (void)number, stop = 1; }

/* Open a file, or the file x in a folder; end the program if that fails. */
static FILE *open_or_exit(const char *path, const char *name, const char *mode) {
    char full[4096];
    snprintf(full, sizeof full, "%s%s%s", path, *name ? "/" : "", name);
    FILE *file = fopen(full, mode);
    if (file == NULL) perror(full), exit(1);
    return file;
}

int main(int argc, char **argv) {
    double lr = 0, x = 0; /* a newborn starts at 0 */
    long step = 0, steps = 0;
    const char *save_to = "", *report = "", *load_from = NULL;
    for (int option; (option = getopt(argc, argv, "l:b:n:o:r:i:")) != -1;) switch (option) {
        case 'l': lr = atof(optarg); break;
        case 'b': step = atol(optarg); break;
        case 'n': steps = atol(optarg); break;
        case 'o': save_to = optarg; break;
        case 'r': report = optarg; break;
        case 'i': load_from = optarg; break;
        default: return 2;
    }
    signal(SIGTERM, ask_to_stop);

    FILE *file;
    if (load_from != NULL) {
        file = open_or_exit(load_from, "x", "r");
        if (fscanf(file, "%lf", &x) != 1) return 1;
        fclose(file);
    }
    const long end = step + steps;
    for (; step < end && !stop; step++) x -= lr * 2 * (x - 3);

    file = open_or_exit(save_to, "x", "w");
    fprintf(file, "%.17g\n", x);
    if (fclose(file) != 0) return 1;
    file = open_or_exit(report, "", "a");
    fprintf(file, "{\"loss\": %.17g, \"step\": %ld}\n", (x - 3) * (x - 3), step);
    if (fclose(file) != 0) return 1;
    return step < end ? 75 : 0; /* 75 hands the trial back; another one continues it */
}
