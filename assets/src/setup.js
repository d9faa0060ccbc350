// The browser knows in which time zone it is; who is asked can still choose another.
const field = document.querySelector("select[data-guess]");
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (field && !field.value && [...field.options].some((option) => option.value === here)) field.value = here;
