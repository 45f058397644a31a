// libcurl, for its SMTP client and its MIME writer. Only the room Messaging may import it (docs/architecture.md).
// curl_easy_setopt and curl_easy_getinfo take any type by "...", which Swift cannot call: one function a type.
#ifndef ECARD_CCURL_SHIM_H
#define ECARD_CCURL_SHIM_H
#include <curl/curl.h>

static inline CURLcode ecard_curl_set_number(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ecard_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ecard_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ecard_curl_set_mime(CURL *handle, curl_mime *value) {
    return curl_easy_setopt(handle, CURLOPT_MIMEPOST, value);
}
static inline long ecard_curl_response_code(CURL *handle) {
    long code = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &code);
    return code;
}
static inline curl_off_t ecard_curl_uploaded(CURL *handle) {
    curl_off_t bytes = 0;
    curl_easy_getinfo(handle, CURLINFO_SIZE_UPLOAD_T, &bytes);
    return bytes;
}
#endif
