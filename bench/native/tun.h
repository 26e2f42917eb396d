#ifndef TUN_H
#define TUN_H

/* Makes the TUN `name` with these flags (IFF_...), whose packets have headers of `header_size` bytes: descriptor. */
int open_tun(const char *name, int flags, int header_size);

#endif
