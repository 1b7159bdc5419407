#include "images/fetch.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { TELL_MS = 200, CONNECT_S = 20, SLOWEST = 256 /* bytes a second: less is nothing */ };
/* What a download leaves free, as a share of the file system and in bytes. */
enum { RESERVE_SHARE = 50, RESERVE_MAX = 1 << 30 };

enum body { BODY_UNSEEN, BODY_TAKEN, BODY_IGNORED, BODY_ANEW };

/* One request and its answer. */
struct get {
	CURL *curl;
	struct fetch_to *to;
	struct fetch_part part; /* what is there; then what the server says of what comes */
	const char *shown;
	bool file, ranged;
	enum body body;
	char etag[256];
	int64_t range_start, range_total; /* of Content-Range; -1: none */
	int64_t limit;                    /* the file may grow to this */
	int64_t tell_at;
	struct err failed; /* on our side */
	char said[CURL_ERROR_SIZE];
};

int fetch_begin(struct err *err)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		return 0;
	return err_set(err, ERR_SYSTEM, "libcurl cannot be initialised");
}

/* ---- addresses ------------------------------------------------------------------------------------- */

static void curl_text_free(char **text)
{
	curl_free(*text);
}
#define _cleanup_curl_text_ _cleanup_(curl_text_free)

static void curlu_free(CURLU **u)
{
	curl_url_cleanup(*u);
}
#define _cleanup_curlu_ _cleanup_(curlu_free)

static CURLU *url_parse(const char *url, struct err *err)
{
	_cleanup_curl_text_ char *scheme = NULL;
	_cleanup_curlu_ CURLU *u = curl_url();
	CURLUcode code = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (code != CURLUE_OK) {
		err_set(err, ERR_USAGE, "not an address: %s", curl_url_strerror(code));
		return NULL;
	}
	curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
	if (str_eq(scheme, "http") || str_eq(scheme, "https") || str_eq(scheme, "file"))
		return TAKE(u);
	err_set(err, ERR_USAGE, "'%s:' is not fetched, only http, https and file are",
		scheme ? scheme : "");
	return NULL;
}

char *fetch_shown(const char *url, struct err *err)
{
	_cleanup_curlu_ CURLU *u = url_parse(url, err);
	_cleanup_curl_text_ char *text = NULL;
	if (!u)
		return NULL;
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	curl_url_set(u, CURLUPART_QUERY, NULL, 0);
	curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	if (curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK)
		return xstrdup(text);
	err_set(err, ERR_USAGE, "not an address");
	return NULL;
}

static bool is_scheme(const char *url, const char *scheme)
{
	size_t len = strlen(scheme);
	return strncasecmp(url, scheme, len) == 0 && url[len] == ':';
}

/* Opening a FIFO or a device would wait, or worse. */
static int check_regular(const char *url, struct err *err)
{
	_cleanup_curl_text_ char *path = NULL;
	_cleanup_curlu_ CURLU *u = url_parse(url, err);
	struct stat st;
	if (!u || curl_url_get(u, CURLUPART_PATH, &path, CURLU_URLDECODE) != CURLUE_OK)
		return err_set(err, ERR_USAGE, "not an address");
	if (stat(path, &st) < 0)
		return err_errno(err, "cannot read '%s'", path);
	return S_ISREG(st.st_mode) ? 0
				   : err_set(err, ERR_USAGE, "'%s' is not a regular file", path);
}

/* ---- what comes ------------------------------------------------------------------------------------ */

/* "etag: VALUE", the blanks around the value left out; false: another header. */
static bool header_is(
	const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
	size_t at = strlen(name);
	if (len <= at || strncasecmp(line, name, at) != 0 || line[at] != ':')
		return false;
	for (at++; at < len && isspace((unsigned char)line[at]); at++)
		;
	while (len > at && isspace((unsigned char)line[len - 1]))
		len--;
	*value = line + at;
	*value_len = len - at;
	return true;
}

static size_t take_header(char *line, size_t size, size_t count, void *about)
{
	struct get *g = about;
	size_t len = size * count, value_len;
	const char *value;
	if (len > 5 &&
		memcmp(line, "HTTP/", 5) == 0) { /* the last answer counts, not "100 Continue" */
		g->etag[0] = '\0';
		g->range_start = g->range_total = -1;
	} else if (header_is(line, len, "etag", &value, &value_len)) {
		/* a weak one does not promise the same bytes */
		if (value_len < sizeof(g->etag) && value_len > 1 && value[0] == '"')
			snprintf(g->etag, sizeof(g->etag), "%.*s", (int)value_len, value);
	} else if (header_is(line, len, "content-range", &value, &value_len)) {
		char text[128];
		long long start, end, total;
		snprintf(text, sizeof(text), "%.*s", (int)value_len, value);
		if (sscanf(text, "bytes %lld-%lld/%lld", &start, &end, &total) == 3 &&
			end == total - 1) {
			g->range_start = start;
			g->range_total = total;
		}
	}
	return len;
}

static int too_large(struct get *g, int64_t size)
{
	if (g->to->text)
		return err_set(&g->failed, ERR_USAGE,
			"%s: larger than %s, which no list of checksums is", g->shown,
			str_size(FETCH_TEXT_MAX));
	err_set(&g->failed, ERR_SYSTEM, "%s: %s%s; there is no room for it", g->shown,
		g->to->total < 0 ? "more than " : "", str_size((uint64_t)size));
	return err_hint(&g->failed, "make room where the store is");
}

/* What may be written: what is free less a reserve, on top of what is there. */
static int set_limit(struct get *g)
{
	struct statvfs fs;
	if (g->to->text) {
		g->limit = FETCH_TEXT_MAX;
		return 0;
	}
	if (fstatvfs(g->to->fd, &fs) < 0)
		return err_errno(&g->failed, "cannot tell how much room there is");
	int64_t reserve = (int64_t)(fs.f_blocks * fs.f_frsize) / RESERVE_SHARE;
	int64_t room = (int64_t)(fs.f_bavail * fs.f_frsize) -
		       (reserve < RESERVE_MAX ? reserve : RESERVE_MAX);
	g->limit = g->to->done + (room > 0 ? room : 0);
	return g->to->total > g->limit ? too_large(g, g->to->total) : 0;
}

static int begin_anew(struct get *g)
{
	g->to->done = 0;
	if (g->to->text)
		buf_drop(g->to->text, g->to->text->len);
	else if (ftruncate(g->to->fd, 0) < 0)
		return err_errno(&g->failed, "cannot write the image");
	return 0;
}

/* The answer's head is there: is its body what we want, and from where on? */
static int begin_body(struct get *g)
{
	long status = 0;
	curl_off_t length = -1;
	curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(g->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	g->body = BODY_IGNORED;
	if (status == 206) {
		bool fits = g->ranged && g->range_start == g->to->done &&
			    (g->part.total < 0 || g->range_total == g->part.total);
		if (!fits)
			g->body = BODY_ANEW;
		if (!fits)
			return 0;
		g->to->total = g->range_total;
	} else if (g->file || status == 200) {
		if (begin_anew(g) < 0)
			return -1;
		g->to->total = length;
		g->to->resume = g->to->folder >= 0;
	} else {
		return 0;
	}
	g->body = BODY_TAKEN;
	if (set_limit(g) < 0)
		return -1;
	snprintf(g->part.url, sizeof(g->part.url), "%s", g->shown);
	snprintf(g->part.etag, sizeof(g->part.etag), "%s", g->etag);
	g->part.total = g->to->total;
	return fetch_part_write(g->to, &g->part, &g->failed);
}

static int write_body(struct get *g, const char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = pwrite(g->to->fd, data + at, len - at, g->to->done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(&g->failed, "cannot write the image after %s",
				str_size((uint64_t)g->to->done));
		at += (size_t)n;
		g->to->done += n;
	}
	return 0;
}

static size_t take_body(char *data, size_t size, size_t count, void *about)
{
	struct get *g = about;
	size_t len = size * count;
	if (g->body == BODY_UNSEEN && begin_body(g) < 0)
		return CURL_WRITEFUNC_ERROR;
	if (g->body != BODY_TAKEN)
		return CURL_WRITEFUNC_ERROR; /* nobody wants to hear it */
	if (g->to->done + (int64_t)len > g->limit) {
		too_large(g, g->limit);
		return CURL_WRITEFUNC_ERROR;
	}
	if (g->to->text) {
		buf_add(g->to->text, data, len);
		g->to->done += (int64_t)len;
	} else if (write_body(g, data, len) < 0) {
		return CURL_WRITEFUNC_ERROR;
	}
	if (!g->to->text && !deadline_left(g->tell_at)) {
		fetch_tell(g->to->done, g->to->total);
		g->tell_at = deadline_in(TELL_MS);
	}
	return len;
}

/* ---- one request ----------------------------------------------------------------------------------- */

static void set_options(struct get *g, const char *url, const struct fetch_options *o)
{
	CURL *c = g->curl;
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https,file");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, o->proxy ? o->proxy : "");
	curl_easy_setopt(c, CURLOPT_USERAGENT, "roost/" ROOST_VERSION);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(
		c, CURLOPT_CONNECTTIMEOUT, o->stall_s < CONNECT_S ? o->stall_s : CONNECT_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, o->stall_s);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, g->said);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, g);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, g);
	if (o->cacert)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->cacert);
}

/* Asks for the rest only, if the server can tell that it is the rest of the same. */
static struct curl_slist *ask_for_rest(struct get *g)
{
	char text[300];
	bool same = g->part.etag[0] && str_eq(g->part.url, g->shown);
	struct curl_slist *headers = NULL;
	if (g->file || !g->to->done || (!same && (!g->to->judged || g->part.total < 0)))
		return NULL;
	if (same) {
		snprintf(text, sizeof(text), "If-Range: %s", g->part.etag);
		headers = curl_slist_append(NULL, text);
		curl_easy_setopt(g->curl, CURLOPT_HTTPHEADER, headers);
	}
	snprintf(text, sizeof(text), "%lld-", (long long)g->to->done);
	curl_easy_setopt(g->curl, CURLOPT_RANGE, text);
	g->ranged = true;
	return headers;
}

static enum fetch_end refused_by_server(const struct get *g, long status, struct err *err)
{
	static const struct {
		long status;
		const char *text;
	} texts[] = {{401, "it wants a password"}, {403, "forbidden"}, {404, "not found"},
		{410, "gone"}, {429, "too many requests"}, {500, "internal error"},
		{503, "service unavailable"}};
	const char *text = "";
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].status == status)
			text = texts[i].text;
	err_set(err, status == 404 || status == 410 ? ERR_NOT_FOUND : ERR_REFUSED,
		"%s: the server says %ld%s%s", g->shown, status, text[0] ? ", " : "", text);
	return FETCH_NEXT;
}

static enum fetch_end refused_by_curl(const struct get *g, CURLcode code, struct err *err)
{
	const char *said = g->said[0] ? g->said : curl_easy_strerror(code);
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		err_set(err, ERR_TIMEOUT, "%s: %s", g->shown, said);
		return g->body == BODY_TAKEN ? FETCH_CUT : FETCH_NEXT;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		err_set(err, ERR_GONE, "%s: the connection was cut after %s", g->shown,
			str_size((uint64_t)g->to->done));
		return FETCH_CUT;
	case CURLE_PEER_FAILED_VERIFICATION:
		err_set(err, ERR_REFUSED, "%s: %s", g->shown, said);
		return FETCH_NEXT;
	default:
		err_set(err, ERR_GONE, "%s: %s", g->shown, said);
		return FETCH_NEXT;
	}
}

/* 1: an answer to be followed; 0: it is there; -1: see *end. */
static int judge(struct get *g, CURLcode code, enum fetch_end *end, struct err *err)
{
	long status = 0;
	curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK && g->body == BODY_UNSEEN) /* a body without a byte */
		begin_body(g);
	if (g->failed.kind != ERR_NONE) {
		*err = g->failed;
		*end = FETCH_FAILED;
		return -1;
	}
	if (!g->file && status >= 301 && status <= 308 && status != 304)
		return 1;
	if (g->body == BODY_ANEW || (status == 416 && g->ranged)) {
		*end = FETCH_CUT;
		g->to->resume = false;
		return begin_anew(g), -1;
	}
	if (!g->file && status >= 300) {
		*end = refused_by_server(g, status, err);
		return -1;
	}
	if (code == CURLE_OK && g->body == BODY_TAKEN &&
		(g->to->total < 0 || g->to->done == g->to->total))
		return 0;
	*end = refused_by_curl(g, code == CURLE_OK ? CURLE_PARTIAL_FILE : code, err);
	return -1;
}

/* Takes the place of *url, or says why not. */
static int follow(const struct get *g, char **url, struct err *err)
{
	char *target = NULL;
	curl_easy_getinfo(g->curl, CURLINFO_REDIRECT_URL, &target);
	if (!target)
		return err_set(err, ERR_REFUSED, "%s: a redirect to nowhere", g->shown);
	if (!is_scheme(target, "https") && !is_scheme(target, "http"))
		return err_set(err, ERR_REFUSED,
			"%s: a redirect to something else than http or https", g->shown);
	if (is_scheme(*url, "https") && !is_scheme(target, "https"))
		return err_set(
			err, ERR_REFUSED, "%s: a redirect from https down to http", g->shown);
	char *next = xstrdup(target);
	free(*url);
	*url = next;
	return 0;
}

static int get_once(char **url, const struct fetch_options *o, struct fetch_to *to,
	enum fetch_end *end, struct err *err)
{
	struct get g = {.to = to, .range_start = -1, .range_total = -1};
	_cleanup_free_ char *shown = fetch_shown(*url, err);
	*end = FETCH_NEXT;
	if (!shown)
		return -1;
	g.shown = shown;
	g.file = is_scheme(*url, "file");
	if (g.file && check_regular(*url, err) < 0)
		return -1;
	fetch_part_read(to, &g.part);
	g.curl = curl_easy_init();
	if (!g.curl)
		return err_set(err, ERR_SYSTEM, "libcurl has no handle for us");
	set_options(&g, *url, o);
	struct curl_slist *headers = ask_for_rest(&g);
	CURLcode code = curl_easy_perform(g.curl);
	int result = judge(&g, code, end, err);
	if (result == 1) {
		*end = FETCH_NEXT;
		result = follow(&g, url, err) < 0 ? -1 : 1;
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(g.curl);
	return result;
}

enum fetch_end fetch_one(
	const char *url, const struct fetch_options *o, struct fetch_to *to, struct err *err)
{
	_cleanup_free_ char *at = xstrdup(url);
	enum fetch_end end;
	for (int i = 0; i <= FETCH_REDIRECTS_MAX; i++) {
		int result = get_once(&at, o, to, &end, err);
		if (result <= 0)
			return result < 0 ? end : FETCH_DONE;
	}
	_cleanup_free_ char *shown = fetch_shown(url, err);
	err_set(err, ERR_REFUSED, "%s: more than %d redirects", shown, FETCH_REDIRECTS_MAX);
	return FETCH_NEXT;
}
