/*
 * The shunt: an XDP program that counts and drops the packets of settled flows before the kernel makes anything of them, and a
 * filter of packet sockets that does the same for these sockets alone.
 *
 * A worker that needs nothing more of a flow writes the flow's tag into a table. The program parses what the worker's own
 * fast path parses (Ethernet, at most two VLAN tags, IPv4 without options or IPv6 without extension headers, not
 * fragmented, TCP or UDP), computes the tag of this direction of the flow, and looks it up. A packet of a known direction
 * is counted there and dropped; every other packet goes up: to the packet sockets, or, with `to_sockets`, to the AF_XDP socket
 * of its queue, with the time written in front of it. What the filter drops is kept from its socket only: the machine gets it.
 *
 * What may open or end a connection (SYN, FIN, RST; what begins as a QUIC long header or a handshake record of DTLS)
 * closes its direction, and goes up: from then on the worker sees the 5-tuple again. The program closes and not the
 * worker, because a hello may follow its SYN before the worker has seen that. For the same reason the worker opens a
 * direction only when it has seen all packets from before it wrote the tag.
 *
 * The parser here and that of live/shunt/packet.rs must agree; a test runs both over the same frames.
 * shunt.o is made from this file by `make`; no other program needs a C compiler.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define UINT(name, value) int (*name)[value]
#define TYPE(name, type) type *name

/* include/uapi/linux/bpf.h, if_packet.h */
enum { MAP_TYPE_ARRAY = 2, MAP_TYPE_LRU_HASH = 9, MAP_TYPE_XSKMAP = 17, F_MMAPABLE = 1 << 10 };
enum { XDP_DROP = 1, XDP_PASS = 2, XDP_REDIRECT = 4 };
struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};
/* The first fields of struct __sk_buff. */
struct socket_frame {
	u32 length, kind, mark, queue, protocol, has_tag, tag, tag_protocol, priority, ingress_ifindex, interface;
};
enum { LOOPBACK = 1, OUTGOING = 4 };
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static u32 (*processor)(void) = (void *)8;
static long (*load_bytes)(const struct socket_frame *frame, u32 offset, void *to, u32 bytes) = (void *)26;
static long (*redirect_map)(void *map, u64 key, u64 otherwise) = (void *)51;
static long (*adjust_meta)(struct xdp_md *context, int bytes) = (void *)54;
static u64 (*frame_length)(struct xdp_md *context) = (void *)188;
static u64 (*time_tai)(void) = (void *)208;

/* One direction of a flow. */
struct slot {
	/* Bits 0 to 55: the tag, always odd; 0 if the slot is free, 2 while nobody may reuse it. Byte 7: the worker's epoch of
	 * the last packet. */
	u64 tag;
	/* Bits 0 to 39: bytes. Bits 40 to 61: packets. Bit 62: open. Bit 63: closed. A packet is shunted if the direction is open
	 * and not closed; it goes up if it finds bit 39 or 61 set, so that no part runs over into the next. */
	u64 count;
};

struct line {
	struct slot slots[4];
};

#define TAG_BITS 56
#define TAG_MASK ((1ULL << TAG_BITS) - 1)
#define ONE_PACKET (1ULL << 40)
#define OPEN (1ULL << 62)
#define CLOSED (1ULL << 63)
#define FULL (1ULL << 61 | 1ULL << 39)
/* A direction stands in one of so many lines, from its home on. */
#define LINES 4

/* One processor's counts. Only that processor writes them. */
struct counts {
	u64 shunted_packets, shunted_bytes;
	/* Written by the workers. */
	u64 epoch;
	/* Packets for a queue without a socket, which went to the kernel. */
	u64 unclaimed_packets;
	u64 unused[4];
};

/* In front of a packet that goes to an AF_XDP socket, where the driver has room for it. */
struct stamp {
	/* Nanoseconds of CLOCK_TAI. */
	u64 time;
	u64 mark;
};

/* Set when the program is loaded, and constant from then on. */
SEC(".rodata") volatile const u64 key_low = 0;
SEC(".rodata") volatile const u64 key_high = 0;
/* The home line of a hash is (hash >> line_shift) & line_mask. */
SEC(".rodata") volatile const u32 line_shift = 0;
SEC(".rodata") volatile const u32 line_mask = 0;
/* The numbers of the interfaces, and how many processors each has counts for. */
#define INTERFACES 16
SEC(".rodata") volatile const u32 interfaces[INTERFACES] = {};
SEC(".rodata") volatile const u32 processors = 1;
/* Whether flows are looked up, and whether what goes up goes to AF_XDP sockets. The kernel leaves out what is not used. */
SEC(".rodata") volatile const u32 shunts = 1;
SEC(".rodata") volatile const u32 to_sockets = 0;
/* Sockets of an interface, one for each queue, and by what a time stamp is known. */
SEC(".rodata") volatile const u32 queues = 0;
SEC(".rodata") volatile const u64 stamp_mark = 0;
/* Bytes of a frame that the filter lets a socket have; 0 where there is no filter. */
SEC(".rodata") volatile const u32 snap_bytes = 0;

struct {
	UINT(type, MAP_TYPE_ARRAY);
	UINT(map_flags, F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct line);
	UINT(max_entries, 1);
} shunt_flows SEC(".maps");

struct {
	UINT(type, MAP_TYPE_ARRAY);
	UINT(map_flags, F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct counts);
	UINT(max_entries, 1);
} shunt_counts SEC(".maps");

struct {
	UINT(type, MAP_TYPE_XSKMAP);
	TYPE(key, u32);
	TYPE(value, u32);
	UINT(max_entries, 1);
} shunt_sockets SEC(".maps");

#ifdef MEASURE
/* For benches: which table is looked up (0: none, 1: the shunt's, 2: a hash table of the kernel), and the source addresses
 * that the packets of one run have, one after the other. */
SEC(".rodata") volatile const u32 table = 1;
SEC(".rodata") volatile const u32 order_mask = 0;
struct {
	UINT(type, MAP_TYPE_LRU_HASH);
	TYPE(key, u64);
	TYPE(value, u64);
	UINT(max_entries, 1);
} measure_lru SEC(".maps");
struct {
	UINT(type, MAP_TYPE_ARRAY);
	UINT(map_flags, F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, u32);
	UINT(max_entries, 1);
} measure_order SEC(".maps");
#endif

#define ROTATE(value, bits) ((value) << (bits) | (value) >> (64 - (bits)))

/* SipHash-1-3: one round for each word of the message, three at the end. */
struct hash {
	u64 a, b, c, d;
};

INLINE void hash_round(struct hash *h)
{
	h->a += h->b;
	h->b = ROTATE(h->b, 13) ^ h->a;
	h->a = ROTATE(h->a, 32);
	h->c += h->d;
	h->d = ROTATE(h->d, 16) ^ h->c;
	h->a += h->d;
	h->d = ROTATE(h->d, 21) ^ h->a;
	h->c += h->b;
	h->b = ROTATE(h->b, 17) ^ h->c;
	h->c = ROTATE(h->c, 32);
}

INLINE void hash_word(struct hash *h, u64 word)
{
	h->d ^= word;
	hash_round(h);
	h->a ^= word;
}

INLINE u64 hash_end(struct hash *h)
{
	h->c ^= 0xff;
	hash_round(h);
	hash_round(h);
	hash_round(h);
	return h->a ^ h->b ^ h->c ^ h->d;
}

/* The low half of the product's halves, folded: the number of the virtual network in the key of a flow. */
INLINE u32 network_of(u64 vlans)
{
	const u64 left = vlans | 1ULL << 63, right = 0x9e3779b97f4a7c15;
	u64 ll = (left & 0xffffffff) * (right & 0xffffffff), lh = (left & 0xffffffff) * (right >> 32);
	u64 hl = (left >> 32) * (right & 0xffffffff), hh = (left >> 32) * (right >> 32);
	u64 middle = (ll >> 32) + (lh & 0xffffffff) + (hl & 0xffffffff);
	return (u32)ll ^ (u32)(hh + (lh >> 32) + (hl >> 32) + (middle >> 32));
}

/* What is known of a packet. */
struct packet {
	u64 hash;
	/* It may open or end a connection. */
	u8 closes;
};

INLINE u16 be16(const u8 *bytes)
{
	return (u16)(bytes[0] << 8 | bytes[1]);
}

INLINE u32 load32(const u8 *bytes)
{
	return *(const u32 *)bytes;
}

INLINE u64 load64(const u8 *bytes)
{
	return load32(bytes) | (u64)load32(bytes + 4) << 32;
}

/* What lies from the Ethernet header on. */
struct frame {
	const u8 *data, *end;
	/* Bytes behind `end`. */
	u32 beyond;
	/* The outermost VLAN tag, if the kernel has taken it out. */
	u8 has_tag;
	u16 tag;
};

/* Reads the TCP or UDP header, of which `announced` bytes were promised. False if the packet is not ordinary. */
INLINE int read_upper(const u8 *upper, const struct frame *frame, u32 announced, u8 protocol, struct packet *packet)
{
	const u8 *end = frame->end;
	if (protocol == 6) {
		if (upper + 20 > end)
			return 0;
		u32 header = (upper[12] >> 4) * 4;
		u32 carried = end - upper + frame->beyond;
		if (header < 20 || header > announced || header > carried)
			return 0;
		/* FIN, SYN, RST (RFC 9293 3.1). */
		packet->closes = (upper[13] & 7) != 0;
		return 1;
	}
	if (protocol == 17) {
		if (upper + 9 > end || announced < 9 || be16(upper + 4) < 9)
			return 0;
		u8 first = upper[8];
		/* It may be Teredo: an IPv6 packet in a datagram. */
		if (first >> 4 == 6)
			return 0;
		/* A QUIC long header (RFC 9000 17.2), or a handshake record of DTLS (RFC 6347 4.1). */
		packet->closes = first >= 0xc0 || first == 22;
		return 1;
	}
	return 0;
}

/* Reads a packet. False if it is not ordinary. */
INLINE int read_packet(const struct frame *frame, struct packet *packet)
{
	const u8 *ip = frame->data + 14, *end = frame->end;
	if (ip > end)
		return 0;
	u16 type = be16(frame->data + 12);
	u64 vlans = frame->has_tag ? frame->tag & 0x0fff : 0;
	u32 shift = vlans ? 16 : 0;
#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		if ((type != 0x8100 && type != 0x88a8) || (tag && frame->has_tag))
			break;
		if (ip + 4 > end)
			return 0;
		u16 id = be16(ip) & 0x0fff;
		/* 0 is a priority tag and names no VLAN (802.1Q 9.6). */
		if (id) {
			vlans |= (u64)id << shift;
			shift += 16;
		}
		type = be16(ip + 2);
		ip += 4;
	}
	struct hash h = {
		.a = key_low ^ 0x736f6d6570736575,
		.b = key_high ^ 0x646f72616e646f6d,
		.c = key_low ^ 0x6c7967656e657261,
		.d = key_high ^ 0x7465646279746573,
	};
	const u8 *upper;
	u64 bytes;
	u8 protocol;
	if (type == 0x0800) {
		if (ip + 20 > end || ip[0] != 0x45 || be16(ip + 6) & 0x3fff)
			return 0;
		u32 length = be16(ip + 2);
		protocol = ip[9];
		upper = ip + 20;
		if (length < 20 || !read_upper(upper, frame, length - 20, protocol, packet))
			return 0;
		hash_word(&h, load64(ip + 12));
		bytes = 13;
	} else if (type == 0x86dd) {
		if (ip + 40 > end || ip[0] >> 4 != 6)
			return 0;
		u32 length = be16(ip + 4);
		protocol = ip[6];
		upper = ip + 40;
		if (!length || !read_upper(upper, frame, length, protocol, packet))
			return 0;
		hash_word(&h, load64(ip + 8));
		hash_word(&h, load64(ip + 16));
		hash_word(&h, load64(ip + 24));
		hash_word(&h, load64(ip + 32));
		bytes = 37;
	} else {
		return 0;
	}
	/* The ports, then the virtual network if there is one, then the protocol. */
	u64 ports = load32(upper);
	if (vlans) {
		hash_word(&h, ports | (u64)network_of(vlans) << 32);
		hash_word(&h, protocol | (bytes + 4) << 56);
	} else {
		hash_word(&h, ports | (u64)protocol << 32 | bytes << 56);
	}
	packet->hash = hash_end(&h);
	return 1;
}

/* 1 if the slot has this tag, 0 otherwise, without a branch. */
INLINE u64 has_tag(const struct slot *slot, u64 tag)
{
	u64 is_zero = ((*(volatile u64 *)&slot->tag & TAG_MASK) ^ tag) - 1;
	/* The compiler must not make a branch of it. */
	asm volatile("" : "+r"(is_zero));
	return is_zero >> 63;
}

/*
 * Most directions stand in their home line, but in any of its slots. A branch for each slot would often be guessed wrongly, which
 * the processor finds out only when the line has come from memory; what it has begun meanwhile is in vain.
 */
INLINE struct slot *find(u64 hash)
{
	const u64 tag = (hash | 1) & TAG_MASK;
	const u32 home = (u32)(hash >> line_shift);
#pragma unroll
	for (u32 step = 0; step < LINES; step++) {
		u32 number = (home + step) & line_mask;
		struct line *line = map_lookup(&shunt_flows, &number);
		if (!line)
			return 0;
		u64 last = has_tag(&line->slots[3], tag);
		u64 place = has_tag(&line->slots[1], tag) + last + 2 * (has_tag(&line->slots[2], tag) + last);
		/* The verifier must see where it ends. A tag stands in one slot only. */
		asm volatile("" : "+r"(place));
		struct slot *slot = &line->slots[place & 3];
		if ((*(volatile u64 *)&slot->tag & TAG_MASK) == tag)
			return slot;
	}
	return 0;
}

/* The count of the packet's direction, if the packet is to be counted there and shunted. */
INLINE u64 *settled(const struct packet *packet, u64 epoch)
{
	struct slot *slot = find(packet->hash);
	if (!slot)
		return 0;
	if (packet->closes) {
		__sync_fetch_and_or(&slot->count, CLOSED);
		return 0;
	}
	if ((*(volatile u64 *)&slot->count & (OPEN | CLOSED | FULL)) != OPEN)
		return 0;
	volatile u8 *last = (volatile u8 *)slot + 7;
	if (*last != (u8)epoch)
		*last = (u8)epoch;
	return &slot->count;
}

/* Counts a packet that is shunted. */
INLINE void add(u64 *count, struct counts *counts, u64 length)
{
	counts->shunted_packets++;
	counts->shunted_bytes += length;
	/* At the end: what stands behind it waits until the line has come from memory. */
	__sync_fetch_and_add(count, ONE_PACKET + length);
}

#ifdef MEASURE
INLINE u64 *settled_by(struct packet *packet, struct counts *counts)
{
	if (table == 1)
		return settled(packet, counts->epoch);
	u64 *count = map_lookup(&measure_lru, &packet->hash);
	return packet->closes ? 0 : count;
}

/* Gives the packet the next source address. */
INLINE void next_source(u8 *data, u8 *end, struct counts *counts)
{
	u32 place = counts->unused[0]++ & order_mask;
	u32 *source = map_lookup(&measure_order, &place);
	if (source && data + 30 <= end)
		*(u32 *)(data + 26) = *source;
}
#endif

/* The place of an interface among all of them. One that is not among them has none, and so no counts. */
INLINE u32 place_of(u32 interface)
{
	u32 place = 0;
	while (place < INTERFACES && interfaces[place] != interface)
		place++;
	return place;
}

/* Sends a packet to the socket of its queue, stamped with the time. */
INLINE int to_socket(struct xdp_md *context, u32 place, struct counts *counts)
{
	u32 queue = context->rx_queue_index;
	if (queue < queues) {
		if (!adjust_meta(context, -(int)sizeof(struct stamp))) {
			struct stamp *stamp = (struct stamp *)(unsigned long)context->data_meta;
			if ((u8 *)(stamp + 1) <= (u8 *)(unsigned long)context->data) {
				stamp->time = time_tai();
				stamp->mark = stamp_mark;
			}
		}
		if (redirect_map(&shunt_sockets, place * queues + queue, XDP_PASS) == XDP_REDIRECT)
			return XDP_REDIRECT;
	}
	counts->unclaimed_packets++;
	return XDP_PASS;
}

SEC("xdp.frags") int shunt(struct xdp_md *context)
{
	u8 *data = (u8 *)(unsigned long)context->data;
	u8 *end = (u8 *)(unsigned long)context->data_end;
	u32 place = place_of(context->ingress_ifindex);
	u32 number = place * processors + processor();
	struct counts *counts = map_lookup(&shunt_counts, &number);
	/* Who attaches the program elsewhere gets nothing by it. */
	if (!counts)
		return XDP_PASS;
	struct frame frame = { .data = data, .end = end };
	struct packet packet = {};
	u64 *count = 0;
#ifdef MEASURE
	next_source(data, end, counts);
	int is_ordinary = read_packet(&frame, &packet);
	if (!table) {
		/* So that the hash is computed all the same. */
		counts->unused[1] = packet.hash;
		counts->shunted_packets++;
		counts->shunted_bytes += frame_length(context);
		return XDP_DROP;
	}
	if (is_ordinary)
		count = settled_by(&packet, counts);
#else
	if (shunts && read_packet(&frame, &packet))
		count = settled(&packet, counts->epoch);
#endif
	if (count) {
		add(count, counts, frame_length(context));
		return XDP_DROP;
	}
	return to_sockets ? to_socket(context, place, counts) : XDP_PASS;
}

/* Two VLAN tags, IPv6 and TCP without options. */
#define HEADER_BYTES 82
/* In front of them, so that behind the Ethernet header words can be read. */
#define PADDING_BYTES 2

/*
 * The filter of a packet socket: how many bytes of a frame it gets. A socket sees what is received and what is sent; on the
 * loopback that is the same. The counts are of one processor, which is in this program only once: both ways keep soft interrupts off.
 */
SEC("socket") int shunt_filter(const struct socket_frame *context)
{
	if (context->interface == LOOPBACK && context->kind == OUTGOING)
		return 0;
	u32 number = place_of(context->interface) * processors + processor();
	struct counts *counts = map_lookup(&shunt_counts, &number);
	if (!counts)
		return snap_bytes;
	u8 memory[PADDING_BYTES + HEADER_BYTES] __attribute__((aligned(8))) = {};
	u8 *headers = memory + PADDING_BYTES;
	u32 length = context->length;
	u32 loaded = length < HEADER_BYTES ? length : HEADER_BYTES;
	if (!loaded || load_bytes(context, 0, headers, loaded))
		return snap_bytes;
	struct frame frame = {
		.data = headers,
		.end = headers + loaded,
		.beyond = length - loaded,
		.has_tag = context->has_tag != 0,
		.tag = context->tag,
	};
	/* The worker puts the tag back. */
	u64 bytes = length + (context->has_tag ? 4 : 0);
	struct packet packet = {};
	u64 *count = read_packet(&frame, &packet) ? settled(&packet, counts->epoch) : 0;
	if (!count)
		return snap_bytes;
	add(count, counts, bytes);
	return 0;
}

SEC("license") char terms[] = "Dual MIT/GPL";
