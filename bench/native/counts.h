#ifndef COUNTS_H
#define COUNTS_H

#include "flows.h"

/* Maps the file that sender and receiver share, making it if need be. */
struct counts *map_counts(const char *path);

#endif
