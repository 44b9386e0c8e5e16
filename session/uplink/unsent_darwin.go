package uplink

const notSentLowAt = 0x201 // TCP_NOTSENT_LOWAT of netinet/tcp.h, which package syscall lacks
