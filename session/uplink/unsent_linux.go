package uplink

const notSentLowAt = 25 // TCP_NOTSENT_LOWAT of linux/tcp.h, which package syscall lacks
