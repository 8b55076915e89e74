libnet_a_SOURCES += \
	src/net/nft/batch.c \
	src/net/nft/conntrack.c \
	src/net/nft/drops.c \
	src/net/nft/elems.c \
	src/net/nft/firewall.c \
	src/net/nft/flows.c \
	src/net/nft/keep.c \
	src/net/nft/lb.c \
	src/net/nft/nft.c src/net/nft/nft_priv.h \
	src/net/nft/ruleset.c \
	src/net/nft/sources.c
